package redisstore

import (
	"context"
	"encoding/binary"
	"errors"
	"time"
)

// List keeps one document under a name, with the time at which it was stored: the last
// good list of Document Providers of a registry, or what was switched to maintenance. It
// belongs to no enterprise, so it is kept without encryption keys too; whoever loads it
// checks it like one from its source. It implements directory.Shared.
type List struct {
	s     *Store
	names []string
}

// listFor is how long a list is kept after the last replica has stored one.
const listFor = 30 * 24 * time.Hour

// List gives the list of a name, as the registry's URL is.
func (s *Store) List(name string) *List {
	return &List{s, s.ring.names(forList, []byte("list\x00"+name))}
}

var errNoList = errors.New("loading a list: Redis has none")

// Load gives the list and when it was stored.
func (l *List) Load(ctx context.Context) ([]byte, time.Time, error) {
	for _, at := range l.names {
		var value []byte
		err := l.s.ask(ctx, nil, func(ctx context.Context) (err error) {
			value, err = l.s.client.Get(ctx, at).Bytes()
			return err
		})
		if errors.Is(err, errAway) {
			return nil, time.Time{}, err
		}
		if value == nil {
			continue
		}
		content, err := l.s.ring.open(forList, at, value)
		if err == nil && len(content) < 8 {
			err = errGarbage
		}
		if err != nil {
			l.s.unreadableValue(err)
			continue
		}
		return content[8:], time.Unix(0, int64(binary.BigEndian.Uint64(content))), nil
	}
	return nil, time.Time{}, errNoList
}

// Store replaces the list. While Redis is away the list waits: the registry may be down
// by the time that it is needed, and the next one comes only after minutes.
func (l *List) Store(ctx context.Context, list []byte) {
	content := binary.BigEndian.AppendUint64(nil, uint64(l.s.o.Now().UnixNano()))
	value, err := l.s.ring.seal(forList, l.names[0], append(content, list...))
	if err != nil {
		return // no randomness: everything else says so
	}
	l.s.lists.Store(l.names[0], &value)
	_ = l.s.within(ctx, backgroundFactor*l.s.o.Timeout, l.s.storeLists) // or else the next look does
}

// storeLists stores the lists that wait.
func (s *Store) storeLists(ctx context.Context) (err error) {
	s.lists.Range(func(at, value any) bool {
		if err = s.client.Set(ctx, at.(string), *value.(*[]byte), listFor).Err(); err == nil {
			s.lists.CompareAndDelete(at, value) // unless a newer one has come
		}
		return err == nil
	})
	return err
}
