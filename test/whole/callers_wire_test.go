package whole_test

import (
	"net"
	"net/http"
	"os"
	"strconv"
	"testing"
	"time"
)

// An opening marks the document read for good, and a write has taken effect: netcat, old
// Perl and Java programs that close their sending side wait for the answer all the same.
func TestACallerThatClosesItsSendingSideGetsItsAnswer(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.fault(slow(nsso, 1500*time.Millisecond)) // longer than it takes to notice
	c := h.dial("")
	c.write("GET " + large + "1/content HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if err := c.conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	c.read("GET").want(t, 200)
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
	t.Parallel()
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
	t.Parallel()
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
