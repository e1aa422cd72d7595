package server_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/problem"
	"ebox-gateway/internal/server"
	"ebox-gateway/internal/tenancy"
)

// small bounds the bodies of both routes.
func small(o *server.Options) { o.Routes[0].MaxBody, o.Routes[1].MaxBody = 80, 100 }

const (
	another   = "0212148896"
	mandates  = "/enterprises/" + bakery + "/grant/citizen/mandates"
	published = `{"recipient":{"eboxType":"ENTERPRISE","eboxIdValue":"` + another + `"}}`
)

func TestBodiesThatNameEnterprisesAreReadBeforeAnythingIsSent(t *testing.T) {
	d := openDoor(t, small)
	const named = `{"representedEnterpriseNumber":"` + bakery + `"}`
	for _, c := range []struct {
		line, says string
		fields     []string
		status     int // 200 for one that goes on
	}{
		{"POST " + nsso + "/ebox/messages", "", []string{"\n" + published}, 200},
		{"POST " + nsso + "/ebox/messages", "not valid JSON", []string{"\nx"}, 400},
		{"POST " + nsso + "/ebox/messages", `"limit":80`, []string{"\n" + strings.Repeat(" ", 81)}, 413},
		{"POST " + nsso + "/ebox/messages", "Content-Type", []string{"\n" + published, "Content-Type: text/plain"}, 400},
		{"POST " + nsso + "/ebox/messages", "Content-Encoding", []string{"\n" + published, "Content-Encoding: gzip"}, 400},
		{"POST " + mandates, "", []string{"\n" + named, "Content-Type: application/json"}, 200},
		{"POST " + mandates, "representedEnterprise", []string{"\n{}", "Content-Type: application/json"}, 400},
		{"POST " + mandates, "", []string{"\n" + strings.Replace(named, bakery, another, 1)}, 400},
		{"POST " + mandates, "not valid JSON", []string{"\n{"}, 400},
		{"POST " + mandates, "Content-Encoding", []string{"\n" + named, "Content-Encoding: gzip"}, 400},
		{"POST " + mandates, `"limit":100`, []string{"\n" + strings.Repeat(" ", 101)}, 413},
	} {
		name := c.line + strings.Join(c.fields, ", ")
		got := d.ask(c.line, c.fields...)
		if c.status != 200 {
			d.refuses(name, got, c.status, c.says)
			continue
		}
		admitted := d.admits(name, got)
		sent := d.body
		if admitted.BodyRead {
			sent = string(admitted.Body)
		}
		if "\n"+sent != c.fields[0] {
			t.Errorf("%s: %q goes on", name, sent)
		}
		if strings.Contains(sent, another) && !slices.Equal(admitted.Record.Named, []string{another}) {
			t.Errorf("the record names %q", admitted.Record.Named)
		}
	}
}

// unread is a body that nobody may read.
type unread struct{ t *testing.T }

func (u unread) Read([]byte) (int, error) {
	u.t.Error("a body was read")
	return 0, errors.New("reading what nobody may read")
}

func (unread) Close() error { return nil }

// Reading a body costs memory: what can be refused without it is, and the caller's rate is
// spent before, once.
func TestABodyIsNotReadOfACallerThatMayNotSendIt(t *testing.T) {
	spent := 0
	d := openDoor(t, small, func(o *server.Options) {
		o.AdmitCaller = func(context.Context, *call.Call, *tenancy.Caller) error {
			if spent++; spent > 2 {
				return problem.TooMany(2, time.Second, "Too many.")
			}
			return nil
		}
	})
	for _, line := range []string{"POST " + nsso + "/ebox/messages", "POST " + mandates} {
		body := "\n" + published
		if strings.HasSuffix(line, mandates) {
			body = "\n" + `{"representedEnterpriseNumber":"` + bakery + `"}`
		}
		d.admits(line, d.ask(line, body))
	}
	if spent != 2 {
		t.Errorf("the rate was spent %d times for 2 calls", spent)
	}
	for _, c := range []struct {
		line   string
		length int64
		status int
	}{
		{"POST " + nsso + "/ebox/messages", 10, http.StatusTooManyRequests},
		{"POST " + mandates, -1, http.StatusTooManyRequests},
		{"POST " + mandates, 101, http.StatusRequestEntityTooLarge},
		{"POST /enterprises/0206731644/grant/citizen/mandates", 10, http.StatusBadRequest},
	} {
		d.edit = func(r *http.Request) { r.Body, r.ContentLength = io.NopCloser(unread{t}), c.length }
		d.refuses(c.line, d.ask(c.line), c.status, "")
	}
}
