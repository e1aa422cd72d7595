package admin

import (
	"net/http"
	"sync"
	"time"
)

// The states of health, as the Belgif guide names them.
const (
	Up       = "UP"
	Degraded = "DEGRADED"
	Down     = "DOWN"
)

// Health is the answer of /health.
type Health struct {
	// Status is Up, Degraded or Down.
	Status string `json:"status"`
	// Details say, part by part, what is not well. They are for the admin side.
	Details map[string]Health `json:"details,omitempty"`
	// Reason is a sentence for people.
	Reason string `json:"reason,omitempty"`
}

// How long an answer of /health is good for. A good one is soon asked for anew, so
// that trouble shows at once; trouble stays for a little longer, so that monitors that
// ask each second see one outage where a part comes and goes, and what is repaired
// still shows within seconds.
const (
	goodFor = 2 * time.Second
	badFor  = 5 * time.Second
)

// remembered is a health that is computed now and then, however many ask.
type remembered struct {
	compute func() Health
	now     func() time.Time

	mu    sync.Mutex
	last  Health
	until time.Time
}

func (m *remembered) health() Health {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	if now.Before(m.until) {
		return m.last
	}
	m.last = m.compute()
	m.until = now.Add(badFor)
	if m.last.Status == Up {
		m.until = now.Add(goodFor)
	}
	return m.last
}

// probe answers 503 while why gives a reason.
func probe(why func() string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if reason := why(); reason != "" {
			answer(w, r, http.StatusServiceUnavailable, Health{Status: Down, Reason: reason})
			return
		}
		answer(w, r, http.StatusOK, Health{Status: Up})
	}
}

// health answers from memory, unless nothing is served: what stops is not well from that
// moment on.
func (a *administration) health(w http.ResponseWriter, r *http.Request) {
	h := Health{Status: Down}
	if h.Reason = a.o.Unable(); h.Reason == "" {
		h = a.remembered.health()
	}
	status := http.StatusOK
	if h.Status == Down {
		status = http.StatusServiceUnavailable
	}
	answer(w, r, status, h)
}
