package replicas

import (
	"context"
	"encoding/binary"
	"errors"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"ebox-gateway/internal/cache"
	"ebox-gateway/internal/call"
)

// Answers gives the second level of the response cache.
//
// The variants of one resource are the fields of one Redis hash, each value with the
// mark that the epochs had when its request began; it counts while they have it. The
// epochs are the fields of a hash of their own. One that is lost, by eviction or by a
// failover, begins again with the time in microseconds, where no count ever was.
//
// Without encryption keys, answers that belong to an enterprise stay in memory; the
// epochs, which tell nothing, are shared all the same.
func (r *Redis) Answers() cache.Store { return answers{r} }

type answers struct{ r *Redis }

const (
	// maxAnswer is the largest sealed answer that goes to Redis, in bytes. Larger ones
	// would take longer on their way than a request may be kept waiting.
	maxAnswer = 1 << 20
	// maxVariants is how many variants of one resource are kept.
	maxVariants = 32
	// saving is how many times the patience an answer may take to be stored, since no
	// request waits for that.
	saving = 4

	markSize = 8
)

// begin makes the epochs ARGV[2]… that are missing, and gives all of them.
var begin = redis.NewScript(`
local list = {}
for i = 2, #ARGV do
  redis.call('HSETNX', KEYS[1], ARGV[i], ARGV[1])
  list[#list + 1] = ARGV[i]
end
return redis.call('HMGET', KEYS[1], unpack(list))`)

// save puts the value ARGV[2] under the variant ARGV[1], for ARGV[3] milliseconds.
var save = redis.NewScript(`
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[4]) then
  redis.call('DEL', KEYS[1])
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[3]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
return 1`)

func (s answers) keeps(k *cache.Key) bool { return s.r.Sealed() || k.Shared() }

// Load implements cache.Store.
func (s answers) Load(ctx context.Context, a *call.Allowance, k *cache.Key) ([]*cache.Entry, cache.Mark, error) {
	if !s.keeps(k) {
		return nil, 0, nil
	}
	if !s.r.circuit.closed() || s.r.outbox.pending() { // then an epoch there lags behind a write made here
		return nil, 0, errAway
	}
	names := s.names(k)
	var mark cache.Mark
	found := make([]map[string]string, len(names))
	err := s.r.call(ctx, a, func(ctx context.Context) error {
		fields := scopeFields(k.Scopes())
		pipe := s.r.client.Pipeline()
		counted := pipe.HMGet(ctx, s.r.epochs, fields...)
		got := make([]*redis.MapStringStringCmd, len(names))
		for i, at := range names {
			got[i] = pipe.HGetAll(ctx, at)
		}
		_, _ = pipe.Exec(ctx) // each command has its own error
		var failure error
		for i, at := range names {
			var err error
			if found[i], err = got[i].Result(); err != nil {
				failure = errors.Join(failure, s.r.discard(ctx, at, err))
			}
		}
		numbers, err := counted.Result()
		if err != nil {
			return errors.Join(s.r.discard(ctx, s.r.epochs, err), failure)
		}
		var whole bool
		if mark, whole = sum(numbers); !whole {
			if mark, err = s.begin(ctx, fields); err != nil {
				return err
			}
		}
		return failure
	})
	if mark == 0 { // what was found cannot be told to count
		return nil, 0, err
	}
	return s.open(names, found, mark), mark, nil
}

// begin gives the mark after making the epochs that were missing.
func (s answers) begin(ctx context.Context, fields []string) (cache.Mark, error) {
	args := make([]any, 0, 1+len(fields))
	args = append(args, s.r.now().UnixMicro())
	for _, f := range fields {
		args = append(args, f)
	}
	numbers, err := begin.Run(ctx, s.r.client, []string{s.r.epochs}, args...).Slice()
	if err != nil {
		return 0, err
	}
	mark, whole := sum(numbers)
	if !whole {
		s.r.client.Del(ctx, s.r.epochs)
		return 0, errGarbage
	}
	return mark, nil
}

// open gives the entries that count.
func (s answers) open(names []string, found []map[string]string, mark cache.Mark) (list []*cache.Entry) {
	for i, at := range names {
		for variant, value := range found[i] {
			if len(value) < markSize || cache.Mark(binary.BigEndian.Uint64([]byte(value[:markSize]))) != mark {
				continue // of an epoch that is over
			}
			content, err := s.r.ring.open(forAnswer, place(at, variant, mark), []byte(value[markSize:]))
			e := new(cache.Entry)
			if err == nil {
				err = e.UnmarshalBinary(content)
			}
			if err != nil {
				s.r.unreadableValue(err)
				continue
			}
			list = append(list, e)
		}
	}
	return list
}

// Save implements cache.Store.
func (s answers) Save(ctx context.Context, k *cache.Key, e *cache.Entry, begun cache.Mark, keep time.Duration) error {
	if begun == 0 || keep <= 0 || !s.keeps(k) || s.r.outbox.pending() || len(e.Body) > 8*maxAnswer {
		return nil
	}
	if !s.r.circuit.closed() {
		return errAway // before the work
	}
	content, err := e.MarshalBinary()
	if err != nil {
		return err
	}
	at, variant := s.names(k)[0], e.Variant()
	value, err := s.r.ring.seal(forAnswer, place(at, variant, begun), content)
	if err != nil {
		return err
	}
	if len(value) > maxAnswer {
		return nil
	}
	value = append(binary.BigEndian.AppendUint64(make([]byte, 0, markSize+len(value)), uint64(begun)), value...)
	return s.r.attempt(ctx, false, saving*s.r.patience, func(ctx context.Context) error {
		err := save.Run(ctx, s.r.client, []string{at}, variant, value, max(keep.Milliseconds(), 1), maxVariants).Err()
		return s.r.discard(ctx, at, err)
	})
}

// Bump implements cache.Store. The context's end does not end it: a write may have
// taken effect though its caller has gone.
func (s answers) Bump(ctx context.Context, a *call.Allowance, scope cache.Scope) error {
	within := func(ctx context.Context, f func(context.Context) error) error { return s.r.call(ctx, a, f) }
	err := s.r.tell(context.WithoutCancel(ctx), within, []cache.Scope{scope})
	if err != nil {
		s.r.outbox.keep(scope)
		return err
	}
	s.r.outbox.told(scope, s.r.now())
	return nil
}

func (s answers) names(k *cache.Key) []string {
	digest := k.Digest()
	return s.r.ring.names(forAnswer, digest[:])
}

// place is what a value is bound to: the resource, the variant and the mark.
func place(at, variant string, mark cache.Mark) string {
	return at + "\x00" + variant + "\x00" + strconv.FormatUint(uint64(mark), 10)
}

func scopeFields(scopes []cache.Scope) []string {
	fields := make([]string, len(scopes))
	for i, s := range scopes {
		fields[i] = strconv.FormatUint(uint64(s), 10)
	}
	return fields
}

// sum adds up what HMGET gave; false if any is missing or no number.
func sum(numbers []any) (total cache.Mark, whole bool) {
	for _, n := range numbers {
		text, ok := n.(string)
		if !ok {
			return 0, false
		}
		v, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return 0, false
		}
		total += cache.Mark(v)
	}
	return total, total > 0
}

// discard removes what has another type than the gateway ever writes there, so that
// the next one can. It gives back the error.
func (r *Redis) discard(ctx context.Context, at string, err error) error {
	if redis.HasErrorPrefix(err, "WRONGTYPE") {
		r.client.Del(ctx, at)
	}
	return err
}
