package proxy_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/proxy"
)

// A frozen upstream shows in the age of its oldest call, long before that call's time is
// over; a large upload takes the time that its caller takes.
func TestTheOldestCallThatWaitsIsKnown(t *testing.T) {
	now := time.Date(2026, 11, 28, 3, 0, 0, 0, time.UTC)
	began := now
	type state = proxy.WaitingState
	var w proxy.Waiting
	var fail error
	errTimeout := &url.Error{Op: "Get", Err: context.DeadlineExceeded}
	send := func(during func(), body int64) {
		r := httptest.NewRequest("GET", "https://nsso.example/", nil)
		r.ContentLength = body
		layer := proxy.NewCounter(call.SenderFunc(func(context.Context, *call.Call, *http.Request) (*http.Response, error) {
			during()
			if fail != nil {
				return nil, fail
			}
			return &http.Response{StatusCode: 200, Body: http.NoBody}, nil
		}), classify, func() time.Time { return now }, &w)
		if _, err := layer.Send(t.Context(), call.New(), r); err != fail {
			t.Fatal(err)
		}
	}
	want := func(s state) {
		t.Helper()
		if got := w.State(); got != s {
			t.Errorf("%+v, want %+v", got, s)
		}
	}
	want(state{})
	send(func() {
		want(state{Calls: 1, Oldest: began, Unanswered: began})
		now = now.Add(time.Second)
		send(func() { want(state{Calls: 1, Oldest: began, Unanswered: began}) }, 2<<30)
		answered := now
		now = now.Add(time.Second)
		send(func() { want(state{Calls: 2, Oldest: began, Unanswered: answered}) }, 100)
		answered = now
		now = now.Add(time.Minute)
		want(state{Calls: 1, Oldest: began, Unanswered: answered})
	}, 0)
	want(state{})

	// One caller whose calls time out one after the other never has an old one.
	fail = errTimeout
	frozen := now
	for range 3 {
		send(func() { want(state{Calls: 1, Oldest: now, Unanswered: frozen}); now = now.Add(30 * time.Second) }, 0)
		now = now.Add(time.Second)
	}
	now = now.Add(10 * time.Second)
	send(func() { want(state{Calls: 1, Oldest: now, Unanswered: now}) }, 0)
	fail = errors.New("connection refused") // which is an answer of a kind
	send(func() {}, 0)
	send(func() { want(state{Calls: 1, Oldest: now, Unanswered: now}) }, 0)
}
