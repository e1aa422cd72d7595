package wire

import (
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var mixingAnswers = flag.Int("mixing", 3000, "answers of the test of isolation, in all its cases together")

// provider is set, to http or https, in the process of a misbehaving provider.
const provider = "EBOX_GATEWAY_TEST_MISBEHAVING_PROVIDER"

// provide is the whole of that process: it says its address and serves until its standard input ends. Then it says how
// often it sent something later than it meant to.
func provide(scheme string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	if scheme == "https" {
		l = tls.NewListener(l, serverConfig(&testing.T{}))
	}
	fmt.Println(l.Addr())
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); misbehave(c) }()
		}
	}()
	io.Copy(io.Discard, os.Stdin)
	fmt.Println(late.Load())
}

var late atomic.Int64

// startProvider gives the address of a misbehaving provider in a process of its own, and what ends it and tells how
// often it was late.
func startProvider(t *testing.T, scheme string) (address string, end func() (late int)) {
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
	if _, err := fmt.Fscanln(out, &address); err != nil {
		t.Fatal(err)
	}
	return address, func() (late int) {
		in.Close()
		if _, err := fmt.Fscanln(out, &late); err != nil {
			t.Error(err)
		}
		cmd.Wait()
		return late
	}
}

// misbehave answers requests for /PARTY/NUMBER with both, a PATCH with a refusal, and often sends what nobody asked
// for: at once, or up to 20 ms later. Some answers take longer than a connection rests.
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
			if time.Since(began) > rest/4 { // a busy machine may wake it much later than it says
				return
			}
			say(surplus)
			if time.Since(began) > rest/2 {
				late.Add(1)
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
			var left, foreign, misplaced, forged, answers atomic.Int64
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
						case strings.Contains(got, other+"/"):
							if foreign.Add(1) <= 3 {
								t.Logf("%s %s got %s", method, name, got)
							}
						case method == "PATCH" && a.StatusCode != http.StatusForbidden:
							if forged.Add(1) <= 3 {
								t.Logf("%s %s got %s", method, name, got)
							}
						case strings.Contains(got, party+"/") && !strings.Contains(got, name+"."):
							misplaced.Add(1)
						}
					}
				})
			}
			wait.Wait()
			t.Logf("%d answers: %d foreign, %d refusals that became something else, %d of another call of the same party; %+v",
				answers.Load(), foreign.Load(), forged.Load(), misplaced.Load(), tr.Counts())
			// What the provider sends as late as a connection rests is another test's.
			if late := end(); late == 0 && foreign.Load()+forged.Load() > 0 {
				t.Error("a party got another's bytes, or a refusal became something else")
			}
			if answers.Load() == 0 || tr.Counts().Surplus == 0 {
				t.Error("the provider did not misbehave")
			}
		})
	}
}
