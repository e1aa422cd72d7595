package server_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/inbox"
	"ebox-gateway/internal/problem"
	"ebox-gateway/internal/server"
)

// federation is the inbox of two providers, nsso and b, which are asked where the proxy would
// send a call.
type federation struct {
	*door
	mu    sync.Mutex
	says  map[string]provider
	asked map[string][]question
	// records are those of the calls to the providers, and of the caller's own, in the order in
	// which they ended.
	records []*call.Record
}

// provider answers a call.
type provider func(http.ResponseWriter, *http.Request, *call.Call)

// question is what a provider was asked.
type question struct {
	*call.Call
	body string
}

const (
	inboxPath = "/enterprises/" + bakery + "/ebox/messages"
	oneLetter = `{"items":[{"messageId":"1","receiptDate":"2026-11-20T12:00:00Z"}],"totalItems":1}`
)

func openInbox(t *testing.T) *federation {
	t.Helper()
	f := &federation{says: make(map[string]provider), asked: make(map[string][]question)}
	f.door = openDoor(t, func(o *server.Options) {
		o.Proxy = f
		o.Done = func(r *call.Record) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.records = append(f.records, r)
		}
		base := o.Routes[0].Target
		o.Routes[0].Target = func(c *call.Call) (server.Target, error) {
			as := *c
			as.Provider = "nsso"
			return base(&as)
		}
		o.Inbox = &server.Inbox{
			Timeout: 15 * time.Second, Now: time.Now, Route: o.Routes[0],
			Providers: func() ([]inbox.Provider, error) { return []inbox.Provider{{ID: "nsso"}, {ID: "b"}}, nil },
			Reason:    func(*call.Record) string { return "circuit-open" },
		}
	})
	return f
}

// Serve implements what the endpoint hands its calls to.
func (f *federation) Serve(w http.ResponseWriter, r *http.Request, c *call.Call) {
	f.mu.Lock()
	f.asked[c.Provider] = append(f.asked[c.Provider], question{c, string(c.Body)})
	answer := f.says[c.Provider]
	f.mu.Unlock()
	if answer == nil {
		answer = says(200, oneLetter)
	}
	answer(w, r, c)
}

func says(status int, body string) provider {
	return func(w http.ResponseWriter, _ *http.Request, _ *call.Call) {
		w.Header()["Content-Type"] = []string{"application/json"}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func TestInboxAsksEachProviderWithACallOfItsOwn(t *testing.T) {
	f := openInbox(t)
	got := f.ask("GET "+inboxPath+"?future=1&partial=true&page=1&pageSize=1", "X-Actor: clerk", "X-Other: x",
		"Accept-Encoding: gzip", "Range: bytes=0-1", `If-None-Match: "1"`, "Accept: text/html")
	const next = "http://localhost" + inboxPath +
		"?future=1&receivedBefore=2026-11-20T12:00:00.001Z&partial=true&page=2&pageSize=1"
	if got.Code != 200 || got.Header().Get("Link") != "<"+next+`>; rel="next"` ||
		!strings.Contains(got.Body.String(), `{"providerId":"b","messageId":"1"`) ||
		!strings.Contains(got.Body.String(), `"totalItems":2`) || got.Header().Get("Cache-Control") != "no-cache" {
		t.Errorf("%d %v %s", got.Code, got.Header(), got.Body)
	}
	own := f.records[2].Call
	if own.Route != server.InboxRoute || f.records[2].Asked != 2 {
		t.Errorf("the caller's own: %+v", f.records[2])
	}
	for _, id := range []string{"nsso", "b"} {
		if len(f.asked[id]) != 1 {
			t.Fatalf("%s was asked %d times", id, len(f.asked[id]))
		}
		c := f.asked[id][0]
		if c.Parent != own.ID || c.ID == own.ID || c.Actor != "clerk" || c.Enterprise.String() != bakery ||
			strings.Join(c.Represented, "") != bakery || c.Path != strings.Replace(nsso, "nsso", id, 1)+"/ebox/messages" ||
			c.Target != "/ebox/messages" || c.Query != "future=1&page=1&pageSize=1" || c.Record == f.records[2] {
			t.Errorf("%s was asked %+v", id, c.Call)
		}
		h := fmt.Sprint(c.Header)
		if h != "map[Accept:[application/json] Accept-Encoding:[identity] X-Actor:[clerk] X-Other:[x]]" {
			t.Errorf("%s was sent %s", id, h)
		}
	}
	got = f.ask("HEAD " + inboxPath)
	if got.Code != 200 || got.Body.Len() > 0 || got.Header().Get("Content-Length") == "" {
		t.Errorf("HEAD: %d %v %s", got.Code, got.Header(), got.Body)
	}
	f.says["b"] = says(200, `{"numberOfMessages":4}`)
	f.says["nsso"] = f.says["b"]
	got = f.ask("GET /enterprises/" + bakery + "/ebox")
	if !strings.Contains(got.Body.String(), `"numberOfMessages":8`) ||
		!strings.Contains(got.Body.String(), `"messages":{"href":"http://localhost`+inboxPath+`"}`) {
		t.Errorf("the summary: %d %s", got.Code, got.Body)
	}
}

// floods answers without an end.
func floods(w http.ResponseWriter, _ *http.Request, _ *call.Call) {
	for {
		if _, err := io.WriteString(w, strings.Repeat(" ", 100_000)); err != nil {
			return
		}
	}
}

// What else a provider may answer is in package inbox.
func TestInboxNamesAProviderInTroubleAndGivesTheOthers(t *testing.T) {
	begins := says(200, `{"items":[`)
	waits := func(_ http.ResponseWriter, r *http.Request, _ *call.Call) {
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	}
	for _, c := range []struct {
		name   string
		answer provider
		reason string
		status int // of the problem
	}{
		{"standing still in its list", func(w http.ResponseWriter, r *http.Request, c *call.Call) {
			begins(w, r, c)
			waits(w, r, c)
		}, "timeout", 504},
		{"sending no header", waits, "timeout", 504},
		{"cutting its list short", func(w http.ResponseWriter, r *http.Request, c *call.Call) {
			begins(w, r, c)
			panic(http.ErrAbortHandler)
		}, "cut-short", 502},
		{"refusing", says(403, `{"type":"x","status":403}`), "refused", 403},
		{"answering without an end", floods, "malformed", 502},
		{"not called, by the gateway's word", func(w http.ResponseWriter, r *http.Request, c *call.Call) {
			p := problem.Unavailable("The circuit is open.", time.Minute)
			c.Record.ProblemType = p.Type
			problem.Write(w, r, p, c.ID, 0)
		}, "circuit-open", 503},
		{"at fault here", func(http.ResponseWriter, *http.Request, *call.Call) { panic("a fault") }, "unavailable", 500},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := openInbox(t)
			f.says["b"] = c.answer
			got := f.ask("GET " + inboxPath)
			said := strings.Join(got.Header()[inbox.Header], "") //nolint:staticcheck // it is sent as it is written there
			if got.Code != 200 || said != "b;reason="+c.reason ||
				!strings.Contains(got.Body.String(), fmt.Sprintf(`"status":%d`, c.status)) ||
				!strings.Contains(got.Body.String(), `{"providerId":"nsso","messageId":"1"`) ||
				strings.Contains(got.Body.String(), "totalItems") {
				t.Errorf("%s: %d %v %s", c.name, got.Code, got.Header(), got.Body)
			}
			f.refuses("all or nothing", f.ask("GET "+inboxPath+"?partial=false"), 503, `"incomplete":[{"providerId":"b"`)
			f.says["nsso"] = c.answer
			f.refuses("nobody", f.ask("GET "+inboxPath), 503, `"incomplete":[{"providerId":"b"`)
		})
	}
}

func TestInboxChangesAreSharedOut(t *testing.T) {
	f := openInbox(t)
	const body = "\n" + `{"items":[{"providerId":"b","messageId":"2"},{"providerId":"nsso","messageId":"1"}]}`
	const merge = "Content-Type: application/merge-patch+json"
	f.says["b"] = says(404, "{}")
	// A provider that checks the digest of another body would refuse its own.
	got := f.ask("PATCH "+inboxPath, body, merge, "Repr-Digest: sha-256=:x:", "Content-Md5: x", "X-Other: x")
	if got.Code != 207 || got.Header().Get("Cache-Control") != "no-store" ||
		!strings.Contains(got.Body.String(), `{"providerId":"nsso","status":200,"items":1}`) {
		t.Errorf("%d %v %s", got.Code, got.Header(), got.Body)
	}
	if own := f.records[2]; own.Route != server.InboxRoute || !slices.Equal(own.Messages, []string{"2", "1"}) {
		t.Errorf("the record of the whole names %q", own.Messages)
	}
	for id, message := range map[string]string{"nsso": "1", "b": "2"} {
		q := f.asked[id]
		if len(q) != 1 || q[0].Method != "PATCH" || q[0].body != `{"items":[{"messageId":"`+message+`"}]}` ||
			q[0].Enterprise.String() != bakery || fmt.Sprint(q[0].Header) != "map[Accept:[application/json] "+
			"Accept-Encoding:[identity] Content-Type:[application/merge-patch+json] X-Other:[x]]" {
			t.Errorf("%s was sent %+v", id, q)
		}
	}
	for _, fields := range [][]string{{body, merge, `If-Match: "1"`}, {"\n{}", merge}, {body, "Content-Type: text/plain"},
		{"\n" + `{"items":[{"providerId":"b","ProviderId":"nsso","messageId":"2"}]}`, merge}, {"\n\ufeff" + body[1:], merge},
		{body + strings.Repeat(" ", inbox.MaxChanges), merge}} {
		if got := f.ask("PATCH "+inboxPath, fields...); got.Code != 400 && got.Code != 413 || len(f.asked["b"]) != 1 {
			t.Errorf("%.100q: %d %s", fields, got.Code, got.Body)
		}
	}
}

func TestInboxLeavesNothingRunningWhenTheCallerGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := openInbox(t)
		ctx, cancel := context.WithCancel(t.Context())
		var left atomic.Int32
		f.says["nsso"] = func(w http.ResponseWriter, r *http.Request, c *call.Call) {
			floods(w, r, c)
			time.Sleep(time.Minute) // it takes a while, in the bubble's time
			left.Add(1)
		}
		f.says["b"] = func(_ http.ResponseWriter, r *http.Request, _ *call.Call) {
			<-r.Context().Done()
			left.Add(1)
			panic(http.ErrAbortHandler)
		}
		f.edit = func(r *http.Request) { *r = *r.WithContext(ctx) }
		time.AfterFunc(time.Second, cancel)
		defer func() {
			if fault := recover(); fault != http.ErrAbortHandler || left.Load() != 2 ||
				f.records[len(f.records)-1].Status != call.StatusClientGone {
				t.Errorf("%v; %d calls ended; %+v", fault, left.Load(), f.records)
			}
		}()
		f.ask("GET " + inboxPath)
	})
}

func TestInboxBeforeThereIsAListOfProviders(t *testing.T) {
	d := openDoor(t, func(o *server.Options) {
		o.Inbox = &server.Inbox{Route: o.Routes[0], Now: time.Now, Providers: func() ([]inbox.Provider, error) {
			return nil, problem.Unavailable("The registry has given no list yet.", time.Minute)
		}}
	})
	for _, line := range []string{"GET " + inboxPath, "GET /enterprises/" + bakery + "/ebox", "PATCH " + inboxPath} {
		got := d.ask(line, "\n"+`{"items":[{"providerId":"nsso"}]}`, "Content-Type: application/json")
		d.refuses(line, got, 503, "no list yet")
	}
}
