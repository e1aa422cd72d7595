package wire

import (
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var mixingAnswers = flag.Int("mixing", 3000, "answers of the test of isolation, in all its cases together")

// misbehave answers a request with its party's name, and sometimes sends what nobody asked for: at once, or up to 20 ms
// later.
func misbehave(c net.Conn) {
	var write sync.Mutex
	say := func(text string) {
		write.Lock()
		defer write.Unlock()
		io.WriteString(c, text)
	}
	var later sync.WaitGroup
	defer later.Wait()
	for {
		head, ok := request(c)
		if !ok {
			return
		}
		method, rest, _ := strings.Cut(head, " /")
		party, _, _ := strings.Cut(rest, " ")
		body := "bytes of " + party
		whole := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		first, surplus := whole, ""
		switch kind := rand.IntN(5); {
		case method == "HEAD":
			first, surplus, _ = strings.Cut(whole, "\r\n\r\n")
			first, surplus = first+"\r\n\r\n", surplus+whole
		case kind == 0:
			first, surplus = "HTTP/1.1 204 No Content\r\n\r\n", whole
		case kind == 1:
			first, surplus = "HTTP/1.1 304 Not Modified\r\n\r\n", whole
		case kind == 2:
			first = fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
			surplus = whole // two answers to one request
		case kind == 3:
			first, surplus = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", whole // too small a length
		}
		delay := time.Duration(rand.IntN(21)) * time.Millisecond
		if surplus == "" || delay == 0 {
			say(first + surplus)
			continue
		}
		say(first)
		began := time.Now()
		later.Go(func() {
			time.Sleep(delay)
			if time.Since(began) < 60*time.Millisecond { // a busy machine may wake it much later than it says
				say(surplus)
			}
		})
	}
}

// Whatever a provider sends, at whatever moment up to 20 ms after its answer, no enterprise gets another's bytes.
func TestNoPartyGetsAnothersBytes(t *testing.T) {
	both(t, func(t *testing.T, scheme string, config *tls.Config) {
		link := scheme + "://" + upstream(t, config, func(_ int, c net.Conn) { misbehave(c) }) + "/"
		tr := client(t, nil)
		var left, foreign, answers atomic.Int64
		left.Store(int64(*mixingAnswers / 2))
		var wait sync.WaitGroup
		for i := range 60 {
			party := []string{"A", "B"}[i%2]
			wait.Go(func() {
				for n := 0; left.Add(-1) >= 0; n++ {
					method := []string{"GET", "HEAD", "PATCH"}[(i/2+n)%3]
					var body io.Reader
					if method == "PATCH" {
						body = strings.NewReader("")
					}
					_, text, err := ask(t, tr, Options{Party: party}, method, link+party, body, nil)
					if err == nil {
						answers.Add(1)
					}
					if strings.Contains(text, "bytes of "+map[string]string{"A": "B", "B": "A"}[party]) {
						foreign.Add(1)
					}
				}
			})
		}
		wait.Wait()
		if n := foreign.Load(); n > 0 {
			t.Errorf("%d foreign answers of %d", n, answers.Load())
		}
		t.Logf("%d answers, %+v", answers.Load(), tr.Counts())
		if answers.Load() == 0 || tr.Counts().Surplus == 0 {
			t.Errorf("%d answers, %+v: the provider did not misbehave", answers.Load(), tr.Counts())
		}
	})
}
