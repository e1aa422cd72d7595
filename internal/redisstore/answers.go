package redisstore

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

const (
	// maxAnswer is the largest sealed answer that goes to Redis, in bytes. Larger ones
	// would take longer on their way than a request may wait.
	maxAnswer = 1 << 20
	// maxBody is the largest body that is compressed in the hope that it becomes small enough.
	maxBody = 8 * maxAnswer
	// maxVariants is how many variants of one resource are kept.
	maxVariants = 32
	// maxOpened bounds what the variants of one resource that are opened grow to together, in bytes: without
	// encryption keys, whoever writes to Redis can make a few bytes grow a thousandfold.
	maxOpened = 64 << 20

	markSize = 8
)

// begin gives the epochs ARGV, and makes those that are missing.
var begin = redis.NewScript(`
local epochs = redis.call('HMGET', KEYS[1], unpack(ARGV))
local t = redis.call('TIME')
for i = 1, #ARGV do
  if not epochs[i] then
    epochs[i] = string.format('%.0f', t[1] * 1000000 + t[2])
    redis.call('HSET', KEYS[1], ARGV[i], epochs[i])
  end
end
return epochs`)

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

func (s *Store) keeps(k *cache.Key) bool { return s.ring.sealed() || k.Shared() }

// Load implements cache.Store.
//
// The variants of one resource are the fields of one Redis hash, each value with the
// mark that the epochs had when its request began; it counts while they have it. The
// epochs are the fields of a hash of their own. One that is lost, by eviction or by a
// failover, begins again with the time in microseconds, where no count ever was; and one
// that is lower than this replica has seen it is not used, but moved on.
//
// Without encryption keys, answers that belong to an enterprise stay in memory; the
// epochs, which tell nothing, are shared all the same.
func (s *Store) Load(ctx context.Context, a *call.Allowance, k *cache.Key) ([]*cache.Entry, cache.Mark, error) {
	if !s.keeps(k) {
		return nil, 0, nil
	}
	if s.written.untold() > 0 { // then an epoch there lags behind a write made here
		return nil, 0, errAway
	}
	names := s.answerNames(k)
	var mark cache.Mark
	found := make([]map[string]string, len(names))
	err := s.ask(ctx, a, func(ctx context.Context) error {
		pipe := s.client.Pipeline()
		epochs := begin.Eval(ctx, pipe, []string{s.epochs}, fieldsOf(k.Scopes())...)
		got := make([]*redis.MapStringStringCmd, len(names))
		for i, at := range names {
			got[i] = pipe.HGetAll(ctx, at)
		}
		_, _ = pipe.Exec(ctx) // each command has its own error
		numbers, err := epochs.Slice()
		err = s.discard(ctx, s.epochs, err)
		if err == nil {
			mark, err = s.mark(k.Scopes(), numbers)
		}
		if errors.Is(err, errGarbage) {
			s.client.Del(ctx, s.epochs) // the next one makes them anew
		}
		for i, at := range names {
			values, failure := got[i].Result()
			found[i] = values
			err = errors.Join(err, s.discard(ctx, at, failure))
		}
		return err
	})
	if mark == 0 { // what was found cannot be told to count
		return nil, 0, err
	}
	return s.open(names, found, mark), mark, nil
}

// mark adds up the epochs that Redis gave. The error is errGarbage if any is missing or is
// no epoch, and errBackwards if any is lower than before; that one will be moved on before
// anything else is read.
func (s *Store) mark(scopes []cache.Scope, numbers []any) (total cache.Mark, err error) {
	if len(numbers) != len(scopes) {
		return 0, errGarbage
	}
	latest := uint64(s.o.Now().Add(maxAhead).UnixMicro())
	for i, n := range numbers {
		text, _ := n.(string)
		epoch, failed := strconv.ParseUint(text, 10, 64)
		switch {
		case failed != nil || epoch == 0 || epoch > latest:
			return 0, errGarbage
		case !s.seen.note(scopes[i], epoch):
			s.TellLater(scopes[i])
			err = errBackwards
		}
		total += cache.Mark(epoch)
	}
	if err != nil {
		return 0, err
	}
	return total, nil
}

// open gives the entries that count, as many as maxOpened allows.
func (s *Store) open(names []string, found []map[string]string, mark cache.Mark) (list []*cache.Entry) {
	opened := 0
	for i, at := range names {
		for variant, value := range found[i] {
			if opened > maxOpened {
				return list
			}
			if len(value) < markSize || cache.Mark(binary.BigEndian.Uint64([]byte(value[:markSize]))) != mark {
				continue // of an epoch that is over
			}
			content, err := s.ring.open(forAnswer, place(at, variant, mark), []byte(value[markSize:]))
			opened += len(content)
			e := new(cache.Entry)
			if err == nil {
				err = e.UnmarshalBinary(content)
			}
			if err != nil {
				s.unreadableValue(err)
				continue
			}
			list = append(list, e)
		}
	}
	return list
}

// Save implements cache.Store.
func (s *Store) Save(ctx context.Context, k *cache.Key, e *cache.Entry, begun cache.Mark, keep time.Duration) error {
	if begun == 0 || !s.keeps(k) || s.written.untold() > 0 || len(e.Body) > maxBody {
		return nil
	}
	content, err := e.MarshalBinary()
	if err != nil {
		return err
	}
	at, variant := s.answerNames(k)[0], e.Variant()
	value, err := s.ring.seal(forAnswer, place(at, variant, begun), content)
	if err != nil {
		return err
	}
	if len(value) > maxAnswer {
		return nil
	}
	value = append(binary.BigEndian.AppendUint64(make([]byte, 0, markSize+len(value)), uint64(begun)), value...)
	return s.within(ctx, backgroundFactor*s.o.Timeout, func(ctx context.Context) error {
		err := save.Run(ctx, s.client, []string{at}, variant, value, max(keep.Milliseconds(), 1), maxVariants).Err()
		return s.discard(ctx, at, err)
	})
}

// Bump implements cache.Store. The context's end does not end it: a write may have
// taken effect though its caller has gone. What fails is told with the next look.
func (s *Store) Bump(ctx context.Context, a *call.Allowance, scope cache.Scope) error {
	s.written.add(scope, s.o.Now())
	err := s.ask(context.WithoutCancel(ctx), a, func(ctx context.Context) error {
		return s.tell(ctx, []cache.Scope{scope})
	})
	if err != nil {
		s.written.tellAgain(s.o.Now())
	}
	return err
}

func (s *Store) answerNames(k *cache.Key) []string {
	digest := k.Digest()
	return s.ring.names(forAnswer, digest[:])
}

// place is what a value is bound to: the resource, the variant and the mark.
func place(at, variant string, mark cache.Mark) string {
	return at + "\x00" + variant + "\x00" + strconv.FormatUint(uint64(mark), 10)
}

// fieldsOf are the fields of the epochs of scopes.
func fieldsOf(scopes []cache.Scope) []any {
	fields := make([]any, len(scopes))
	for i, s := range scopes {
		fields[i] = uint32(s)
	}
	return fields
}
