package proxy

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"ebox-gateway/internal/call"
)

type senderFunc func(*http.Request) (*http.Response, error)

func (f senderFunc) Send(_ context.Context, _ *call.Call, r *http.Request) (*http.Response, error) {
	return f(r)
}

// A frozen upstream shows in the age of its oldest call, long before that call's time is
// over; a large upload takes the time that its caller takes.
func TestTheOldestCallThatWaitsIsKnown(t *testing.T) {
	now := time.Date(2026, 11, 28, 3, 0, 0, 0, time.UTC)
	began := now
	var w Waiting
	var layer call.Sender
	send := func(during func(), body int64) {
		r := httptest.NewRequest("GET", "https://nsso.example/", nil)
		r.ContentLength = body
		layer = NewCounter(senderFunc(func(*http.Request) (*http.Response, error) {
			during()
			return &http.Response{StatusCode: 200, Body: http.NoBody}, nil
		}), classify, func() time.Time { return now }, &w)
		if _, err := layer.Send(t.Context(), call.New(), r); err != nil {
			t.Fatal(err)
		}
	}
	want := func(s WaitingState) {
		t.Helper()
		if got := w.State(); got != s {
			t.Errorf("%+v, want %+v", got, s)
		}
	}
	want(WaitingState{})
	send(func() {
		now = now.Add(time.Second)
		send(func() { want(WaitingState{Calls: 1, Oldest: began}) }, 2<<30)
		answered := now
		send(func() { want(WaitingState{Calls: 2, Oldest: began, Answered: answered}) }, 100)
		now = now.Add(time.Minute)
		want(WaitingState{Calls: 1, Oldest: began, Answered: answered})
	}, 0)
	want(WaitingState{Answered: now})
}
