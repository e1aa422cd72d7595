package whole_test

import (
	"bufio"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"ebox-gateway/internal/memory"
	"ebox-gateway/internal/simulator"
	"ebox-gateway/internal/testkit"
)

// flood sends requests from an address of their own and leaves them where they are. Statuses
// of those that were answered come by the channel.
func (h *house) flood(n int, request string, body int) <-chan *http.Response {
	answers := make(chan *http.Response, n)
	text := []byte(request + strings.Repeat(" ", body))
	var sent sync.WaitGroup
	for range n {
		c := h.dial("127.0.0.2")
		_ = c.conn.(*net.TCPConn).SetReadBuffer(4096) // an answer is not all taken by the kernel
		sent.Go(func() {
			// One that is refused may end before all of it was sent.
			_, _ = c.conn.Write(text)
			go func() {
				if resp, err := http.ReadResponse(bufio.NewReader(c.conn), nil); err == nil {
					answers <- resp
				}
			}()
		})
	}
	sent.Wait()
	return answers
}

// honest makes the calls of others, which must lose nothing.
func (h *house) honest(t *testing.T) {
	t.Helper()
	for range 3 {
		h.get(box).want(t, 200)
		h.get(box+"/messages").want(t, 200)
		h.get("/enterprises/"+another+"/ebox/messages").want(t, 200)
		orderMandate(h).want(t, 201)
	}
}

// bounded checks what is held for callers, of which n hold something.
func (h *house) bounded(t *testing.T, n int) {
	t.Helper()
	held, limit := h.metric("ebox_gateway_held_bytes"), h.metric("ebox_gateway_held_bytes_limit")
	if limit <= 0 || held > limit/2+float64(n)*memory.Free {
		t.Errorf("%.0f bytes of %.0f are held for one caller", held, limit)
	}
}

const patch = "PATCH /enterprises/" + mandated + "/ebox/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: " +
	"application/merge-patch+json\r\nContent-Length: 1000000\r\n\r\n"

func TestBodiesWhoseEndIsWithheldAreBoundedInMemory(t *testing.T) {
	t.Parallel()
	h := open(t, edit("server: {", "server: {limits: {maxHeldBytes: 8MiB}, "))
	for range 26 { // a page of them takes nearly half of it, with the answer that is made of it
		_, err := h.sim.AddMessage("nsso", 206731645, simulator.Draft{Subject: strings.Repeat("x", 25_000)})
		testkit.Must(t, err)
	}
	const page = "/enterprises/" + mandated + "/ebox/messages?pageSize=26"
	const calls = 16
	answers := h.flood(calls, patch, 999_999)
	for range calls - 8 { // eight at most find room in the half of their source
		if a := <-answers; a.StatusCode != 503 || a.Header.Get("Retry-After") == "" ||
			a.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s %v", a.Status, a.Header)
		}
	}
	got := h.as("127.0.0.2", "GET", page).want(t, 503) // pages of the inbox share the memory with bodies
	if got.header.Get("Retry-After") == "" || !strings.Contains(got.body, "maxHeldBytes") {
		t.Errorf("%v %s", got.header, got.body)
	}
	h.bounded(t, calls)
	h.honest(t)
	if got := h.list(t, page); len(got.Items) != 26 {
		t.Errorf("another caller gets %d messages: %v", len(got.Items), got.header)
	}
	if n := h.metric("ebox_gateway_held_bytes_refusals_total"); n < calls-8 {
		t.Errorf("%.0f refusals are counted", n)
	}
}
