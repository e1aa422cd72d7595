package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"ebox-gateway/internal/simulator"
)

const (
	enterprises = "/enterprises/"
	order       = `{"mandatorSsin":"79072300048","scopes":["nothing"],"representedEnterpriseNumber":"0206731645"}`
	hide        = `{"items":[{"messageId":"` + simulator.FirstMessage + `","visible":true}]}`
)

// calls are what is asked, in turn by chance.
var calls = []struct{ name, method, path, contentType, body string }{
	{"summary", "GET", enterprises + "0206731645/ebox/providers/nsso/ebox", "", ""},
	{"summary of another", "GET", enterprises + "0212148896/ebox/providers/nsso/ebox", "", ""},
	{"head of the list", "HEAD", enterprises + "0206731645/ebox/providers/nsso/ebox/messages?pageSize=100", "", ""},
	{"list", "GET", enterprises + "0206731645/ebox/providers/nsso/ebox/messages?pageSize=100", "", ""},
	{"document", "GET", enterprises + "0206731645/ebox/providers/nsso/ebox/messages/" + simulator.LargeMessage +
		"/attachments/1/content", "", ""},
	{"large document", "GET", enterprises + "0206731645/ebox/providers/nsso/ebox/messages/" + simulator.LargeMessage +
		"/attachments/3/content", "", ""},
	{"hiding a message", "PATCH", enterprises + "0206731645/ebox/providers/nsso/ebox/messages",
		"application/merge-patch+json", hide},
	{"regional summary", "GET", enterprises + "0206731645/ebox/providers/regional/ebox", "", ""},
	{"mandates", "GET", "/grant/citizen/mandates?representedEnterpriseNumber=0206731645", "", ""},
	// One that is refused: those that are not would make the list longer all the time.
	{"no good mandate", "POST", "/grant/citizen/mandates", "application/json", order},
	{"health", "GET", "/grant/citizen/health", "", ""},
	{"registry", "GET", "/ebox/registry/messageRegistries", "", ""},
	{"providers", "GET", "/ebox/providers", "", ""},
	{"no such provider", "GET", enterprises + "0206731645/ebox/providers/nobody/ebox", "", ""},
	{"nobody's enterprise", "GET", enterprises + "0800002352/ebox/providers/nsso/ebox", "", ""},
}

// never is longer than any call may take: connecting, header and a body that trickles.
const never = time.Minute

// load is the callers and what they got.
type load struct {
	url     string
	clients []*http.Client

	mu       sync.Mutex
	statuses map[string]int
	made     int
	failures []string
}

func newLoad(url string) *load {
	l := &load{url: url, statuses: make(map[string]int)}
	for _, h2 := range []bool{false, true} {
		t := &http.Transport{MaxIdleConnsPerHost: 100, Protocols: new(http.Protocols)}
		t.Protocols.SetHTTP1(!h2)
		t.Protocols.SetUnencryptedHTTP2(h2)
		l.clients = append(l.clients, &http.Client{Transport: t})
	}
	return l
}

func (l *load) close() {
	for _, c := range l.clients {
		c.CloseIdleConnections()
	}
}

// everythingOnce makes each call until it gets its proper answer.
func (l *load) everythingOnce(ctx context.Context) error {
	defer l.close()
	for _, c := range calls {
		deadline := time.Now().Add(never)
		for {
			status, err := l.send(ctx, l.clients[0], c.method, c.path, c.contentType, c.body)
			if err == nil && status < 500 && status < 400 == !strings.HasPrefix(c.name, "no") {
				break
			}
			if time.Now().After(deadline) || !pause(ctx, 100*time.Millisecond) {
				return fmt.Errorf("%s: status %d: %w", c.name, status, errors.Join(err, ctx.Err()))
			}
		}
	}
	return nil
}

// run calls until ctx is done. One in ten callers goes away before it has its answer.
func (l *load) run(ctx context.Context, r *rand.Rand) {
	for ctx.Err() == nil {
		c := calls[r.IntN(len(calls))]
		client := l.clients[r.IntN(len(l.clients))]
		patience := never
		if r.IntN(10) == 0 {
			patience = time.Duration(1+r.IntN(30)) * time.Millisecond
		}
		one, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		status, err := l.send(one, client, c.method, c.path, c.contentType, c.body)
		l.note(c.name, status, err, patience < never)
		cancel()
		pause(ctx, time.Duration(r.IntN(20))*time.Millisecond)
	}
}

var (
	errInternal = errors.New("the gateway says that it is its own fault")
	errForeign  = errors.New("the answer is one that nobody asked for")
)

// send returns the status; an error is an answer that did not come, or not whole.
func (l *load) send(ctx context.Context, client *http.Client, method, path, contentType, body string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, method, l.url+path, strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	if body == "" {
		req.Body = nil
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusInternalServerError && strings.Contains(resp.Header.Get("Proxy-Status"), "error=") {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
		return resp.StatusCode, fmt.Errorf("%w: %s", errInternal, bytes.TrimSpace(text))
	}
	head, err := io.ReadAll(io.LimitReader(resp.Body, int64(len(simulator.SecondAnswer))))
	if string(head) == simulator.SecondAnswer {
		return resp.StatusCode, errForeign
	}
	if err == nil {
		_, err = io.Copy(io.Discard, resp.Body)
	}
	return resp.StatusCode, err
}

func (l *load) note(name string, status int, err error, impatient bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.made++
	switch {
	case errors.Is(err, errInternal), errors.Is(err, errForeign), errors.Is(err, context.DeadlineExceeded) && !impatient:
		l.failures = append(l.failures, fmt.Sprintf("%s: %v", name, err))
	case err != nil && impatient:
		l.statuses["went away"]++
		return
	case err != nil && status == 0:
		l.failures = append(l.failures, fmt.Sprintf("%s: no answer: %v", name, err))
	case err != nil:
		l.statuses["cut short"]++
		return
	}
	l.statuses[fmt.Sprint(status)]++
}

func (l *load) print() {
	fmt.Printf("%d calls:", l.made)
	for _, s := range slices.Sorted(maps.Keys(l.statuses)) {
		fmt.Printf("  %s × %d", s, l.statuses[s])
	}
	fmt.Println()
}

// verdict is what must not have happened.
func (l *load) verdict() error {
	if len(l.failures) == 0 {
		return nil
	}
	return fmt.Errorf("%d calls had no proper answer, as: %s", len(l.failures),
		strings.Join(l.failures[:min(len(l.failures), 10)], "\n"))
}
