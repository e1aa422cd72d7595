package listen_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/listen"
	"ebox-gateway/internal/testkit"
)

// dialFrom connects from an address of the machine's own, as another one would.
func (f *front) dialFrom(source string) *caller {
	f.t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}
	conn, err := d.Dial("tcp", f.addr)
	testkit.Must(f.t, err)
	return f.caller(conn)
}

func TestIdleConnectionsMakeRoomForNewOnes(t *testing.T) {
	const places = 8
	for name, begin := range map[string]func(*caller){
		"that have sent nothing": func(*caller) {},
		"within a header":        func(c *caller) { c.send("GET / HTTP/1.1\r\nHost: loc") },
		"between requests":       func(c *caller) { c.ask(get) },
		"of HTTP/2": func(c *caller) {
			c.send(http2.ClientPreface)
			_ = http2.NewFramer(c.conn, nil).WriteSettings()
			if _, err := http2.NewFramer(nil, c.r).ReadFrame(); err != nil {
				t.Fatal(err)
			}
		},
		"whose refused body is thrown away": func(c *caller) {
			c.ask("POST /refused HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, another := range []string{"127.0.0.1", "127.0.0.2"} {
				f := listening(t, func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/refused" {
						w.WriteHeader(403)
						return
					}
					echo(w, r)
				}, func(l *config.Limits) { l.MaxConnections = places })
				idle := make([]*caller, 0, 2*places)
				for range 2 * places { // those in front make room for those behind, too
					c := f.dial()
					begin(c)
					idle = append(idle, c)
				}
				for range places {
					if a := f.dialFrom(another).ask(get); a.StatusCode != 200 {
						t.Errorf("%s", a.Status)
					}
				}
				idle[0].closesSoon()
				testkit.Eventually(t, "no more connections than places", func() bool { return f.open.Load() <= places })
			}
		})
	}
}

func TestOneSourceLeavesPlacesToOthers(t *testing.T) {
	const places = 16
	release, under := make(chan struct{}), make(chan struct{}, 10*places)
	var turnedAway atomic.Int32
	f := newFront(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/long" {
			under <- struct{}{}
			<-release
		}
		echo(w, r)
	}, func(o *listen.Options) { o.TurnedAway = func() { turnedAway.Add(1) } })
	f.listen(nil, func(l *config.Limits) { l.MaxConnections = places })
	const long = "GET /long HTTP/1.1\r\nHost: a\r\n\r\n"
	var many []*caller
	for range places - places/8 + places/4 {
		c := f.dialFrom("127.0.0.2")
		c.send(long)
		many = append(many, c)
	}
	for range places - places/8 {
		<-under
	}
	for range 5 * places {
		c := f.dialFrom("127.0.0.1")
		c.ask(get)
		_ = c.conn.Close()
	}
	c := f.dialFrom("127.0.0.1")
	for range 3 * places { // a flood of the first source
		if conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("127.0.0.2")}}).Dial("tcp", f.addr); err == nil {
			defer conn.Close()
		}
	}
	c.ask(get)
	f.dialFrom("127.0.0.1").ask(get)
	testkit.Eventually(t, "those of the flood to be counted", func() bool { return turnedAway.Load() == 3*places })
	if !f.TurnedAway() {
		t.Error("nobody is told of them")
	}
	close(release)
	for _, c := range many { // nothing that was accepted is lost
		if a := c.read("GET"); a.StatusCode != 200 {
			t.Errorf("%s", a.Status)
		}
	}
}

func TestALowerLimitIsReachedAndAHigherOneIsUsed(t *testing.T) {
	f := newFront(t, echo)
	l := limits
	both := []listen.Listener{{Name: "a", Address: "127.0.0.1:0"}, {Name: "b", Address: "127.0.0.1:0"}}
	for _, l.MaxConnections = range []int{5, 2, 0, 3} {
		testkit.Must(t, f.Listen(both, l, time.Minute))
		for i := range 10 {
			f.addr = f.Addrs()[i%2].String()
			f.dial().ask(get)
		}
		testkit.Eventually(t, "no more connections than places", func() bool {
			return l.MaxConnections == 0 || int(f.open.Load()) <= l.MaxConnections
		})
	}
}

// few is set in a process of this test that may have few file descriptors: the kernel's limit
// holds for the whole process.
const few = "LISTEN_FEW_DESCRIPTORS"

// withFew gives the command that runs the test in a process with few file descriptors.
func withFew(t *testing.T) *exec.Cmd {
	child := exec.Command("sh", "-c", `ulimit -n 100 && exec "$0" -test.run="^`+t.Name()+`$"`, os.Args[0])
	child.Env, child.Stderr = append(os.Environ(), few+"=1"), os.Stderr
	return child
}

// reserving makes a server that keeps descriptors free.
func reserving(t *testing.T, h http.HandlerFunc) *front {
	f := newFront(t, h, func(o *listen.Options) { o.Reserve = true })
	f.listen(nil, func(l *config.Limits) { l.MaxConnections = 10_000 })
	return f
}

func TestTheAdminListenerAnswersWhenDescriptorsAreUsedUp(t *testing.T) {
	if os.Getenv(few) != "" {
		serveWithFewDescriptors(t)
		return
	}
	child := withFew(t)
	in, err := child.StdinPipe()
	testkit.Must(t, err)
	out, err := child.StdoutPipe()
	testkit.Must(t, err)
	testkit.Must(t, child.Start())
	defer func() {
		_ = in.Close()
		if err := child.Wait(); err != nil {
			t.Error(err)
		}
	}()
	var internal, admin string
	if _, err := fmt.Fscan(out, &internal, &admin); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	to := func(address, source string) *caller { f := &front{t: t, addr: address}; return f.dialFrom(source) }

	if a := to(admin, "127.0.0.1").ask(get); a.body != "well" {
		t.Errorf("before: %q", a.body)
	}
	for range 300 {
		to(internal, "127.0.0.2").send("GET / HTTP/1.1\r\nHost")
	}
	// Each of its callers takes two descriptors, as those do for whom an upstream is called.
	for range 60 {
		// One that finds no place may be closed at once.
		_, _ = io.WriteString(to(internal, "127.0.0.3").conn, "GET /two HTTP/1.1\r\nHost: a\r\n\r\n")
	}
	testkit.Eventually(t, "descriptors to be short, as the admin listener says", func() bool {
		return to(admin, "127.0.0.1").ask(get).body == "short"
	})
	if a := to(internal, "127.0.0.1").ask(get); a.StatusCode != 200 {
		t.Errorf("%s", a.Status)
	}
}

func serveWithFewDescriptors(t *testing.T) {
	release := make(chan struct{})
	internal := reserving(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/two" {
			if conn, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
				defer conn.Close()
			}
			<-release
		}
	})
	admin := listening(t, func(w http.ResponseWriter, _ *http.Request) {
		file, err := os.Open(os.DevNull) // as it reads its token
		if err != nil {
			w.WriteHeader(500)
			return
		}
		_ = file.Close()
		_, _ = io.WriteString(w, map[bool]string{true: "short", false: "well"}[internal.Short()])
	})
	fmt.Println(internal.addr, admin.addr)
	_, _ = io.Copy(io.Discard, os.Stdin)
	close(release)
	if log := internal.log.String(); strings.Contains(log, "panicked") {
		t.Error(log)
	}
}

func TestAConnectionIsServedOnceDescriptorsAreFreeAgain(t *testing.T) {
	if os.Getenv(few) == "" {
		if err := withFew(t).Run(); err != nil {
			t.Error(err)
		}
		return
	}
	f := reserving(t, echo)
	var files []*os.File // as an upstream's connections take them, when no caller has one
	for fd := uintptr(0); fd < 80; {
		file, err := os.Open(os.DevNull)
		testkit.Must(t, err)
		files, fd = append(files, file), file.Fd()
	}
	c := f.dial()
	c.send(get)
	testkit.Eventually(t, "descriptors to be short", f.Short)
	for _, file := range files {
		_ = file.Close()
	}
	if a := c.read("GET"); a.StatusCode != 200 {
		t.Errorf("%s", a.Status)
	}
}
