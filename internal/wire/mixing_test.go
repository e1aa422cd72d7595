package wire_test

import (
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ebox-gateway/internal/wire"
)

var mixingTransports = flag.Int("mixing", 20, "Transports in each case of the test of isolation")

// overdue is how old an answer may be when its surplus has left: until then no connection that has rested serves
// again.
const overdue = rest - 50*time.Millisecond

// misbehave answers requests for /PARTY/NUMBER with both, a PATCH with a refusal, and often sends what nobody asked
// for: at once, or up to 20 ms later. Some answers take longer than a connection rests. A process that stands still may
// send its surplus much later: late holds the names of all whose surplus has not left in time.
func misbehave(c net.Conn, late *sync.Map) {
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
		method, target, _ := strings.Cut(head, " /")
		target, _, _ = strings.Cut(target, " ")
		body := "bytes of " + target + "."
		whole := fmt.Sprintf("HTTP/1.1 200 OK\r\nX-Of: %s.\r\nContent-Length: %d\r\n\r\n%s", target, len(body), body)
		first, surplus := whole, ""
		head, content, _ := strings.Cut(whole, "\r\n\r\n")
		switch kind := rand.IntN(12); {
		case method == "PATCH":
			first = "HTTP/1.1 403 Forbidden\r\nX-Of: " + target + ".\r\nContent-Length: 0\r\n\r\n"
			if kind == 0 {
				surplus = whole
			}
		case method == "HEAD":
			first = head + "\r\n\r\n"
			if kind < 4 {
				surplus = content + whole
			}
		case kind < 4: // bodies where none belongs, and two answers to one request
			first, surplus = []string{"HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 304 Not Modified\r\n\r\n",
				"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", whole}[kind], whole
		case kind == 4: // too small a length
			first = fmt.Sprintf("HTTP/1.1 200 OK\r\nX-Of: %s.\r\nContent-Length: 5\r\n\r\n%s", target, body[:5])
			surplus = body[5:]
		}
		if rand.IntN(40) == 0 {
			time.Sleep(rest + 50*time.Millisecond)
		}
		delay := time.Duration(rand.IntN(21)) * time.Millisecond
		if surplus == "" || delay == 0 {
			say(first + surplus)
			continue
		}
		began := time.Now()
		say(first)
		later.Go(func() {
			time.Sleep(delay)
			late.Store(target, true)
			if say(surplus); time.Since(began) < overdue {
				late.Delete(target)
			}
		})
	}
}

// Whatever a provider sends, at whatever moment up to 20 ms after its answer, no enterprise gets another's bytes, and
// no refusal of a write becomes a success. Each Transport has an upstream of its own: after the first surplus none
// uses a connection twice.
func TestNoPartyGetsAnothersBytes(t *testing.T) {
	var answers, surplus, opened atomic.Uint64
	both(t, "misbehaving", func(t *testing.T, scheme string, config *tls.Config) {
		var late, wrong sync.Map
		var serving, calling sync.WaitGroup
		ask := func(tr *client, link, party string, i int) {
			time.Sleep(time.Duration(rand.IntN(150)) * time.Millisecond)
			method, name := []string{"GET", "HEAD", "PATCH"}[i%3], fmt.Sprintf("%s/%d", party, rand.Uint64())
			r, _ := http.NewRequest(method, link+name, nil)
			a, err := tr.Do(t.Context(), r, wire.Options{Party: party})
			if err != nil {
				return
			}
			text, err := io.ReadAll(a.Body)
			a.Body.Close()
			answers.Add(1)
			got := fmt.Sprintf("%d %q %q %v", a.StatusCode, a.Header, text, err)
			if other := string('A' + 'B' - party[0]); strings.Contains(got, other+"/") ||
				method == "PATCH" && a.StatusCode != http.StatusForbidden {
				wrong.Store(fmt.Sprintf("%s %s got %s", method, name, got), true)
			}
		}
		var transports []*client
		for range *mixingTransports {
			tr := newClient(t, func(c *wire.Config) { c.Now = time.Now })
			transports = append(transports, tr)
			link := scheme + "://" + upstream(t, config, func(_ int, c net.Conn) {
				serving.Add(1)
				defer serving.Done()
				misbehave(c, &late)
			}) + "/"
			for i, party := range []string{"A", "B", "A", "B"} {
				calling.Go(func() {
					for n := range 6 {
						ask(tr, link, party, i/2+n)
					}
				})
			}
		}
		calling.Wait()
		for _, tr := range transports {
			tr.CloseIdleConnections()
			surplus.Add(tr.Counts().Surplus)
			opened.Add(tr.Counts().Opened)
		}
		serving.Wait()
		wrong.Range(func(what, _ any) bool {
			excused := false
			late.Range(func(name, _ any) bool {
				excused = strings.Contains(what.(string), name.(string)+".")
				return !excused
			})
			if !excused {
				t.Error(what)
			}
			return true
		})
	})
	t.Logf("%d answers over %d connections, %d of them with surplus", answers.Load(), opened.Load(), surplus.Load())
	if surplus.Load() == 0 || opened.Load() >= answers.Load() {
		t.Error("the provider did not misbehave, or no connection was used twice")
	}
}
