package whole_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"ebox-gateway/internal/simulator"
)

// isEnded waits until the gateway closes the connection.
func isEnded(t *testing.T, conn net.Conn, what string) {
	t.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.Copy(io.Discard, conn); err != nil && strings.Contains(err.Error(), "timeout") {
		t.Errorf("%s is waited for without end", what)
	}
}

func TestCallersThatStandStillAreEnded(t *testing.T) {
	t.Parallel()
	h := open(t, edit("server: {", "server: {limits: {readHeaderTimeout: 300ms, bodyIdleTimeout: "+
		"300ms, idleTimeout: 300ms}, "))
	t.Run("in the header", func(t *testing.T) {
		conn := h.dial("").conn
		fmt.Fprint(conn, "GET /ebox/providers HTTP/1.1\r\nHost: loc")
		isEnded(t, conn, "half a header")
	})
	t.Run("in a body that streams", func(t *testing.T) {
		conn := h.dial("").conn
		fmt.Fprintf(conn, "POST /enterprises/%s%s/ebox/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: "+
			"1000000\r\n\r\nbegin", mandated, nsso)
		isEnded(t, conn, "half a body")
	})
	t.Run("in a body that is read whole", func(t *testing.T) {
		conn := h.dial("").conn
		fmt.Fprintf(conn, "POST /enterprises/%s/grant/citizen/mandates HTTP/1.1\r\nHost: localhost\r\nContent-Type: "+
			"application/json\r\nContent-Length: 1000\r\n\r\n{", mandated)
		isEnded(t, conn, "half a body")
	})
	t.Run("between requests", func(t *testing.T) {
		conn := h.dial("").conn
		fmt.Fprint(conn, "GET /ebox/providers HTTP/1.1\r\nHost: localhost\r\n\r\n")
		isEnded(t, conn, "an idle connection")
	})
	t.Run("while the answer comes", func(t *testing.T) {
		id, err := h.sim.AddMessage("nsso", 206731645, largeDraft())
		if err != nil {
			t.Fatal(err)
		}
		conn := h.dial("").conn
		fmt.Fprintf(conn, "GET /enterprises/%s%s/ebox/messages/%s/attachments/1/content HTTP/1.1\r\nHost: localhost\r\n\r\n",
			mandated, nsso, id)
		eventually(t, "the end of the exchange", func() bool {
			all := h.sim.RequestsTo("provider:nsso")
			return len(all) > 0 && all[len(all)-1].Opening && all[len(all)-1].Done
		})
	})
}

// A caller that sends a few bytes at a time, always within the time, must not be cut,
// though the whole takes far longer than any single limit.
func TestASlowButHonestUploadIsNotCut(t *testing.T) {
	t.Parallel()
	h := open(t, edit("server: {", "server: {limits: {bodyIdleTimeout: 400ms}, "))
	body :=
		`{"mandatorSsin":"79072300048","scopes":["precontractualDataFlexiJob"],"representedEnterpriseNumber":"0206731645"}`
	conn := h.dial("").conn
	fmt.Fprintf(conn, "POST /enterprises/%s/grant/citizen/mandates HTTP/1.1\r\nHost: localhost\r\nContent-Type: "+
		"application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n", mandated, len(body))
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for len(body) > 0 {
		n := min(10, len(body))
		<-tick.C
		if _, err := io.WriteString(conn, body[:n]); err != nil {
			t.Fatal(err)
		}
		body = body[n:]
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 201 {
		t.Errorf("%s", resp.Status)
	}
}

func TestManySlowCallersDoNotKeepHonestOnesOut(t *testing.T) {
	h := open(t)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 1000 {
		wg.Go(func() {
			conn, err := net.Dial("tcp", strings.TrimPrefix(h.base, "http://"))
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			h.t.Cleanup(func() { conn.Close() })
			mu.Unlock()
			fmt.Fprintf(conn, "POST /enterprises/%s%s/ebox/messages HTTP/1.1\r\nHost: localhost\r\nX-Slow", mandated, nsso)
		})
	}
	wg.Wait()
	for range 20 {
		h.get("/enterprises/"+mandated+nsso+"/ebox").want(t, 200)
	}
}

// largeDraft is a message whose document is larger than what sockets hold.
func largeDraft() simulator.Draft { return simulator.Draft{Sizes: []int64{32 << 20}} }
