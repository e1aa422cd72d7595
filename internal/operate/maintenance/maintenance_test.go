package maintenance

import (
	"context"
	"testing"
	"time"

	"ebox-gateway/internal/admin"
)

// copied is what stands in Redis, whoever wrote it.
type copied struct{ body string }

func (c *copied) Load(context.Context) ([]byte, time.Time, error) {
	return []byte(c.body), time.Time{}, nil
}
func (c *copied) Store(_ context.Context, body []byte) { c.body = string(body) }

func TestNobodySwitchesTheGatewayOffForEverInRedis(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for name, body := range map[string]string{
		"until the end of time": `{"changed":"2026-11-22T12:00:00Z",
			"gateway":{"gateway":true,"until":"9999-12-31T23:59:59Z"}}`,
		"a provider, for a month": `{"changed":"2026-11-22T12:00:00Z",
			"providers":{"nsso":{"provider":"nsso","until":"2026-12-22T12:00:00Z"}}}`,
		"at the end of time": `{"changed":"9999-12-31T23:59:59.999Z",
			"gateway":{"gateway":true,"until":"2026-11-22T13:00:00Z"}}`,
		"what is no state of switches":   `[]`,
		"a state whose time is not said": `{"gateway":{"gateway":true,"until":"2026-11-22T13:00:00Z"}}`,
	} {
		s, store := New(Options{Now: func() time.Time { return now }}), &copied{body}
		if s.look(t.Context(), store) || len(s.List()) > 0 {
			t.Errorf("%s is taken: %v", name, s.List())
		}
		// What people switch next is still shared.
		s.change(admin.Maintenance{Provider: "b", Since: now, Until: now.Add(time.Hour)})
		s.share(t.Context(), store)
		other := New(Options{Now: func() time.Time { return now }})
		if !other.look(t.Context(), store) || len(other.List()) != 1 {
			t.Errorf("after %s nothing is shared: %s", name, store.body)
		}
	}
	s := New(Options{Now: func() time.Time { return now }})
	if !s.look(t.Context(),
		&copied{`{"changed":"2026-11-22T12:00:01Z","gateway":{"gateway":true,"until":"2026-11-29T12:00:01Z"}}`}) ||
		len(s.List()) != 1 {
		t.Error("the longest maintenance of a replica whose clock is ahead is not taken")
	}
}
