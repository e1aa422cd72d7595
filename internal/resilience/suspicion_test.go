package resilience

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ebox-gateway/internal/call"
)

// failingLater fails once it is told to.
type failingLater struct{ failing atomic.Bool }

func (f *failingLater) Send(_ context.Context, _ *call.Call, r *http.Request) (*http.Response, error) {
	if f.failing.Load() {
		return answers(503)(r)
	}
	return answers(200)(r)
}

// busy makes an upstream whose window is full of old successes.
func busy(t *testing.T, log *bytes.Buffer) (*Upstream, call.Sender, *failingLater) {
	t.Helper()
	upstream := new(failingLater)
	o := Options{Name: "nsso", Settings: trusting, Classify: classify}
	if log != nil {
		o.Log = slog.New(slog.NewTextHandler(log, nil))
	}
	u := NewUpstream(o)
	rt := u.Breaker(upstream)
	for range 3 {
		two(t, rt)
	}
	return u, rt, upstream
}

func TestAHintOfAnotherReplicaOpensNothingByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u, rt, _ := busy(t, nil)
		u.Suspect(5 * time.Second)
		for range 10 {
			two(t, rt)
			time.Sleep(400 * time.Millisecond)
			if s := u.State(); s.Circuit != Closed || s.Opened != 0 || s.SuspectedUntil.IsZero() {
				t.Fatalf("%+v", s)
			}
		}
		time.Sleep(2 * time.Second)
		if s := u.State(); !s.SuspectedUntil.IsZero() {
			t.Errorf("it never ends: %+v", s)
		}
	})
}

func TestAfterAHintAFewFailuresOpenTheCircuit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// Without a hint, sixty successes would have to be outweighed.
		u, rt, upstream := busy(t, nil)
		upstream.failing.Store(true)
		two(t, rt)
		if s := u.State(); s.Circuit != Closed {
			t.Fatalf("without a hint: %+v", s)
		}
		var log bytes.Buffer
		u, rt, upstream = busy(t, &log)
		u.Suspect(5 * time.Second)
		upstream.failing.Store(true)
		repeat(t, 1, rt, first)
		repeat(t, 1, rt, second)
		if s := u.State(); s.Circuit != Closed {
			t.Fatalf("after two failures: %+v", s)
		}
		repeat(t, 1, rt, first)
		s := u.State()
		if s.Circuit != Open || !s.SuspectedUntil.IsZero() {
			t.Fatalf("after three failures: %+v", s)
		}
		if text := log.String(); !strings.Contains(text, "another replica's circuit is open") ||
			!strings.Contains(text, "circuit open") {
			t.Error(text)
		}
	})
}

func TestAfterAHintOneEnterpriseIsStillNotTheUpstream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u, rt, upstream := busy(t, nil)
		u.Suspect(5 * time.Second)
		upstream.failing.Store(true)
		repeat(t, 20, rt, first)
		if s := u.State(); s.Circuit != Closed {
			t.Fatalf("one enterprise's failures opened it for all: %+v", s)
		}
	})
}

func TestAHintToAnOpenCircuitSaysNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := protect(trusting)
		two(t, u.Breaker(answers(503)))
		u.Suspect(time.Hour)
		if s := u.State(); s.Circuit != Open || !s.SuspectedUntil.IsZero() {
			t.Fatalf("%+v", s)
		}
		protect(Settings{}).Suspect(time.Hour) // one without a circuit
	})
}

func TestAnOpenCircuitIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []time.Duration
		u := NewUpstream(Options{Settings: trusting, Classify: classify, Opened: func(d time.Duration) {
			told = append(told, d)
		}})
		rt := u.Breaker(answers(503))
		two(t, rt)
		time.Sleep(trusting.Breaker.Open + time.Millisecond)
		for range 4 { // the probes fail
			two(t, rt)
		}
		if len(told) != 2 || told[0] != trusting.Breaker.Open {
			t.Fatalf("told %v", told)
		}
	})
}
