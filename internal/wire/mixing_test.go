package wire

import (
	"bufio"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var mixingAnswers = flag.Int("mixing", 1000, "answers of the test of isolation, in all its cases together")

// provider is set, to http or https, in the process of a misbehaving provider.
const provider = "EBOX_GATEWAY_TEST_MISBEHAVING_PROVIDER"

// overdue is how old an answer may be when its surplus has left: until then no connection that has rested serves
// again.
const overdue = rest - 50*time.Millisecond

// provide is the whole of that process: it says its address and serves until its standard input ends. Then it says
// whose surplus left too late to judge the gateway by it.
func provide(scheme string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	if scheme == "https" {
		l = tls.NewListener(l, serverConfig(&testing.T{}))
	}
	fmt.Println(l.Addr())
	var late sync.Map
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); misbehave(c, &late) }()
		}
	}()
	io.Copy(io.Discard, os.Stdin)
	late.Range(func(name, _ any) bool { fmt.Println(name); return true })
}

// startProvider gives the address of a misbehaving provider in a process of its own, and how to end it, which tells
// whose surplus was late.
func startProvider(t *testing.T, scheme string) (address string, end func() (late []string)) {
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env, cmd.Stderr = append(os.Environ(), provider+"="+scheme), os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := bufio.NewReader(out)
	end = sync.OnceValue(func() []string {
		in.Close()
		text, err := io.ReadAll(said)
		if err := errors.Join(err, cmd.Wait()); err != nil {
			t.Error(err)
		}
		return strings.Fields(string(text))
	})
	t.Cleanup(func() { end() })
	if address, err = said.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(address), end
}

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
		switch kind := rand.IntN(6); {
		case method == "PATCH":
			first = "HTTP/1.1 403 Forbidden\r\nX-Of: " + target + ".\r\nContent-Length: 0\r\n\r\n"
			if kind == 0 {
				surplus = whole
			}
		case method == "HEAD" && kind < 4:
			first, surplus, _ = strings.Cut(whole, "\r\n\r\n")
			first, surplus = first+"\r\n\r\n", surplus+whole
		case method == "HEAD":
			first, surplus, _ = strings.Cut(whole, "\r\n\r\n")
			first += "\r\n\r\n"
		case kind == 0:
			first, surplus = "HTTP/1.1 204 No Content\r\n\r\n", whole
		case kind == 1:
			first, surplus = "HTTP/1.1 304 Not Modified\r\n\r\n", whole
		case kind == 2:
			surplus = whole // two answers to one request
		case kind == 3:
			first, surplus = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", whole // too small a length
		case kind == 4:
			first, surplus = strings.Replace(whole, body, body[:5], 1), body[5:]
			first = strings.Replace(first, fmt.Sprintf("Length: %d", len(body)), "Length: 5", 1)
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
			say(surplus)
			if time.Since(began) < overdue {
				late.Delete(target)
			}
		})
	}
}

// Whatever a provider sends, at whatever moment up to 20 ms after its answer, no enterprise gets another's bytes, and
// no refusal of a write becomes a success.
func TestNoPartyGetsAnothersBytes(t *testing.T) {
	for _, scheme := range []string{"http", "https"} {
		t.Run(scheme, func(t *testing.T) {
			address, end := startProvider(t, scheme)
			link := scheme + "://" + address + "/"
			tr := client(t, nil)
			var left, misplaced, answers atomic.Int64
			var mu sync.Mutex
			var wrong []string
			report := func(what string) {
				mu.Lock()
				defer mu.Unlock()
				wrong = append(wrong, what)
			}
			left.Store(int64(*mixingAnswers / 2))
			var wait sync.WaitGroup
			for i := range 60 {
				party, other := "A", "B"
				if i%2 == 1 {
					party, other = other, party
				}
				wait.Go(func() {
					for n := 0; left.Add(-1) >= 0; n++ {
						method := []string{"GET", "HEAD", "PATCH"}[(i/2+n)%3]
						name := fmt.Sprintf("%s/%d-%d", party, i, n)
						r, err := http.NewRequest(method, link+name, nil)
						if err != nil {
							t.Error(err)
							return
						}
						a, err := tr.Do(t.Context(), r, Options{Party: party})
						if err != nil {
							continue
						}
						text, err := io.ReadAll(a.Body)
						a.Body.Close()
						answers.Add(1)
						got := fmt.Sprintf("%d %q %q %v", a.StatusCode, a.Header, text, err)
						switch {
						case strings.Contains(got, other+"/"), method == "PATCH" && a.StatusCode != http.StatusForbidden:
							report(fmt.Sprintf("%s %s got %s", method, name, got))
						case strings.Contains(got, party+"/") && !strings.Contains(got, name+"."):
							misplaced.Add(1)
						}
					}
				})
			}
			wait.Wait()
			late := end()
			for _, what := range wrong {
				if !slices.ContainsFunc(late, func(name string) bool { return strings.Contains(what, name+".") }) {
					t.Error(what)
				}
			}
			t.Logf("%d answers: %d wrong, %d of another call of the same party, the surplus of %d left late; %+v",
				answers.Load(), len(wrong), misplaced.Load(), len(late), tr.Counts())
			if answers.Load() == 0 || tr.Counts().Surplus == 0 {
				t.Error("the provider did not misbehave")
			}
		})
	}
}
