package whole_test

import (
	"bufio"
	"crypto/tls"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"ebox-gateway/internal/simulator"
)

// An opening marks the document read for good, and a write has taken effect: netcat, old
// Perl and Java programs that close their sending side wait for the answer all the same.
func TestACallerThatClosesItsSendingSideGetsItsAnswer(t *testing.T) {
	h := open(t)
	if _, err := h.sim.Fault(slow(nsso, 1500*time.Millisecond)); err != nil { // longer than it takes to notice
		t.Fatal(err)
	}
	change := `{"items":[{"messageId":"` + simulator.FirstMessage + `","visible":true}]}`
	for name, request := range map[string]string{
		"an opening": "GET " + large + "1/content HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"a write": "PATCH " + box + "/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: " +
			"application/merge-patch+json\r\nContent-Length: " +
			strconv.Itoa(len(change)) + "\r\n\r\n" + change,
		"HTTP/1.0": "GET " + box + " HTTP/1.0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			c := h.dial("")
			c.t = t
			c.write(request)
			if err := c.conn.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			c.read("GET").want(t, 200)
		})
	}
}

func TestRefusedUploadsReachCallersThatSendEverythingFirst(t *testing.T) {
	h := open(t)
	for name, path := range map[string]string{
		"404": "/nothing", "405": "/ebox/providers", "403": "/enterprises/" + unlisted + nsso + "/ebox/messages",
		"413": "/enterprises/" + mandated + "/grant/citizen/mandates",
	} {
		t.Run(name, func(t *testing.T) {
			c := h.dial("")
			c.t = t
			c.write("POST " + path + " HTTP/1.1\r\nHost: localhost\r\nContent-Type: " +
				"application/json\r\nContent-Length: 5000000\r\n\r\n")
			c.write(strings.Repeat("x", 5_000_000))
			if a := c.read("POST"); strconv.Itoa(a.status) != name || a.problem(t)["detail"] == "" {
				t.Errorf("%d %s", a.status, a.body)
			}
		})
	}
}

func TestARequestThatCannotBeReadGetsAProblemOverTLS(t *testing.T) {
	cert, key := certificate(t, "server")
	h := open(t, edit(`server: {listen: "127.0.0.1:0"`, "server: {listen: ['127.0.0.1:0', {address: '127.0.0.1:0', "+
		"name: tls, tls: {certFile: "+cert+", keyFile: "+key+"}}]"))
	conn, err := tls.Dial("tcp", h.gw.Addrs()[1].String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := &caller{t, conn, bufio.NewReader(conn)}
	c.write("GET / HTTP/1.1\r\nHost: localhost\r\nX Y: 1\r\n\r\n")
	got := c.read("GET").want(t, 400)
	if id := got.header.Get("X-Request-Id"); id == "" || got.problem(t)["instance"] != "urn:uuid:"+id {
		t.Errorf("%v %s", got.header, got.body)
	}
}

// replace writes config.yaml with several edits at once.
func (f *files) replace(t *testing.T, pairs ...string) {
	t.Helper()
	text, err := os.ReadFile(f.path("config.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	next := string(text)
	for i := 0; i < len(pairs); i += 2 {
		next = edit(pairs[i], pairs[i+1])(t, next)
	}
	f.write(t, "config.yaml", next)
}

// The admin listener used to move before the internal one was tried.
func TestARefusedConfigurationMovesNoListener(t *testing.T) {
	f := watched(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	free, err := net.Listen("tcp", "127.9.8.6:0") // where no other test gets a port of its own
	if err != nil {
		t.Fatal(err)
	}
	moved := free.Addr().String()
	free.Close()
	f.replace(t, `server: {listen: "127.0.0.1:0"`, `server: {listen: ["127.0.0.1:0", "`+taken.Addr().String()+`"]`,
		`admin: {listen: "127.0.0.1:0"`, `admin: {listen: "`+moved+`"`)
	eventually(t, "the rejection, told by the admin listener as it was", func() bool {
		return f.status().Configuration.Rejected != nil
	})
	// A further try to take the configuration may have the address open for a moment. Nobody
	// answers there.
	if resp, err := http.Get("http://" + moved + "/livez"); err == nil {
		resp.Body.Close()
		t.Error("the admin listener is at its new address all the same")
	}
	f.get("/enterprises/"+mandated+nsso+"/ebox").want(t, 200)
}

// Two configurations that both have requests under way share the limit.
func TestTheLimitOfRequestsIsOneOverReloads(t *testing.T) {
	f := watched(t, edit("server: {", "server: {limits: {maxRequests: 2}, "))
	id, err := f.sim.Fault(frozen(nsso))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		f.dial("").write("GET /enterprises/" + mandated + nsso + "/ebox/messages?page=" + strconv.Itoa(i+1) +
			" HTTP/1.1\r\nHost: localhost\r\n\r\n")
	}
	eventually(t, "the requests under way", func() bool { return f.sim.RequestCount("provider:nsso") == 2 })
	before := f.status().Configuration.Hash
	f.change(t, "registry:\n", "registry:\n  refresh: 7m\n")
	eventually(t, "the next configuration", func() bool { return f.status().Configuration.Hash != before })
	f.get("/ebox/providers").want(t, 503)
	f.sim.RemoveFault(id)
}
