package maintenance_test

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"ebox-gateway/internal/admin"
	"ebox-gateway/internal/directory"
	"ebox-gateway/internal/operate/maintenance"
	"ebox-gateway/internal/testkit"
)

// copied is what stands in Redis, whoever wrote it.
type copied struct{ body string }

func (c *copied) Load(context.Context) ([]byte, time.Time, error) {
	return []byte(c.body), time.Time{}, nil
}
func (c *copied) Store(_ context.Context, body []byte) { c.body = string(body) }

// following is a replica that has just looked at the others' switches.
func following(t *testing.T, store *copied) *maintenance.Switches {
	s := maintenance.New(maintenance.Options{
		Now:   func() time.Time { return time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC) },
		Log:   slog.New(slog.DiscardHandler),
		Store: func() directory.Shared { return store },
		Known: func(string) error { return nil },
	})
	testkit.Running(t, s.Follow)
	synctest.Wait()
	return s
}

func TestNobodySwitchesTheGatewayOffForEverInRedis(t *testing.T) {
	testkit.Table(t, map[string]struct {
		body  string
		taken int
	}{
		"until the end of time": {`{"changed":"2026-11-22T12:00:00Z",
			"gateway":{"gateway":true,"until":"9999-12-31T23:59:59Z"}}`, 0},
		"a provider, for a month": {`{"changed":"2026-11-22T12:00:00Z",
			"providers":{"nsso":{"provider":"nsso","until":"2026-12-22T12:00:00Z"}}}`, 0},
		"at the end of time": {`{"changed":"9999-12-31T23:59:59.999Z",
			"gateway":{"gateway":true,"until":"2026-11-22T13:00:00Z"}}`, 0},
		"what is no state of switches":   {`[]`, 0},
		"a state whose time is not said": {`{"gateway":{"gateway":true,"until":"2026-11-22T13:00:00Z"}}`, 0},
		"the longest of a replica whose clock is ahead": {`{"changed":"2026-11-22T12:00:01Z",
			"gateway":{"gateway":true,"until":"2026-11-29T12:00:01Z"}}`, 1},
	}, func(t *testing.T, c struct {
		body  string
		taken int
	}) {
		store := &copied{c.body}
		s := following(t, store)
		if list := s.List(); len(list) != c.taken {
			t.Errorf("in force is %v", list)
		}
		// What people switch next is still shared.
		until := time.Date(2026, 11, 22, 13, 0, 0, 0, time.UTC)
		testkit.Must(t, s.Switch(t.Context(), admin.Maintenance{Provider: "b", Until: until}))
		if list := following(t, store).List(); len(list) != c.taken+1 {
			t.Errorf("another replica has %v of %s", list, store.body)
		}
	})
}
