package replicas

import (
	"context"
	"encoding/binary"
	"errors"
	"time"
)

// List keeps the last good list of Document Providers of one registry. It belongs to
// no enterprise, so it is kept without encryption keys too; whoever loads it checks it
// like the registry's own answer.
type List struct {
	r     *Redis
	names []string
}

// listFor is how long a list is kept after the last replica has stored one.
const listFor = 30 * 24 * time.Hour

// List gives the list of the registry at a URL. It implements directory.Shared.
func (r *Redis) List(registry string) *List {
	return &List{r, r.ring.names(forList, []byte("list\x00"+registry))}
}

var errNoList = errors.New("loading the list of Document Providers: Redis has none")

// Load gives the list and when it was fetched.
func (l *List) Load(ctx context.Context) ([]byte, time.Time, error) {
	for _, at := range l.names {
		var value []byte
		err := l.r.call(ctx, nil, func(ctx context.Context) (err error) {
			value, err = l.r.client.Get(ctx, at).Bytes()
			return err
		})
		if errors.Is(err, errAway) {
			return nil, time.Time{}, err
		}
		if value == nil {
			continue
		}
		content, err := l.r.ring.open(forList, at, value)
		if err == nil && len(content) < 8 {
			err = errGarbage
		}
		if err != nil {
			l.r.unreadableValue(err)
			continue
		}
		return content[8:], time.Unix(0, int64(binary.BigEndian.Uint64(content))), nil
	}
	return nil, time.Time{}, errNoList
}

// Store replaces the list. While Redis is away the list waits: the registry may be down
// by the time that it is needed, and the next one comes only after minutes.
func (l *List) Store(ctx context.Context, list []byte) {
	content := binary.BigEndian.AppendUint64(nil, uint64(l.r.now().UnixNano()))
	value, err := l.r.ring.seal(forList, l.names[0], append(content, list...))
	if err != nil {
		return // no randomness: everything else says so
	}
	l.r.lists.Store(l.names[0], &value)
	_ = l.r.attempt(ctx, false, saving*l.r.patience, l.r.storeLists) // or else the probe does
}

// storeLists stores the lists that wait.
func (r *Redis) storeLists(ctx context.Context) (err error) {
	r.lists.Range(func(at, value any) bool {
		if err = r.client.Set(ctx, at.(string), *value.(*[]byte), listFor).Err(); err == nil {
			r.lists.CompareAndDelete(at, value) // unless a newer one has come
		}
		return err == nil
	})
	return err
}
