package whole_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

const twoCallers = "callers:\n  - {name: greedy, networks: [127.0.0.2/32]}\n  - {name: honest, networks: " +
	"[127.0.0.1/32]}\ntenancy:\n"

// One caller reads and writes so slowly that its calls never end, more of them than the
// provider has places. It asks for the same enterprise as the others do, too.
func TestSlowCallsOfOneCallerCostOthersNoRequest(t *testing.T) {
	t.Parallel()
	h := open(t, edit("tenancy:\n", twoCallers), providers("concurrency: {max: 40, queue: 40, wait: 10s}"))
	id, err := h.sim.AddMessage("nsso", 206731645, largeDraft())
	if err != nil {
		t.Fatal(err)
	}
	for i := range 80 {
		c := h.dial("127.0.0.2")
		if i%2 == 0 {
			c.write(fmt.Sprintf("GET %s/messages/%s/attachments/1/content HTTP/1.1\r\nHost: localhost\r\n\r\n", box, id))
		} else {
			c.write("POST " + box + "/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; " +
				"boundary=x\r\nContent-Length: 100000\r\n\r\n--x\r\n" + filePart + "%PDF")
		}
	}
	eventually(t, "the slow ones to have all that they get", func() bool {
		u := h.upstreamStatus("provider nsso")
		return u.InFlight == 35 && u.Queued == 35 && u.RefusedShare == 10
	})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 25 {
				if got := h.get(box); got.status != 200 {
					t.Errorf("an honest caller got %d %s", got.status, got.body)
				}
			}
		})
	}
	wg.Wait()
	got := h.as("127.0.0.2", "POST", box+"/messages", mixed).want(t, 503)
	if p := got.problem(t); !strings.Contains(p["detail"].(string), "This caller has its share") ||
		p["retryAfterSec"] != 10.0 {
		t.Error(got.body)
	}
}

func TestACallerBeyondItsConcurrencyIsRefusedBeforeItsBodyIsRead(t *testing.T) {
	t.Parallel()
	h := open(t, edit("tenancy:\n", strings.Replace(twoCallers, "127.0.0.2/32]", "127.0.0.2/32], concurrency: 3", 1)))
	const start = "POST /enterprises/" + mandated + "/grant/citizen/mandates HTTP/1.1\r\nHost: localhost\r\n" +
		"Content-Type: application/json\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n\r\n"
	var writers []*caller
	for range 3 {
		c := h.dial("127.0.0.2")
		c.write(start)
		if got := c.read("POST"); got.status != 100 {
			t.Fatalf("%d %s", got.status, got.body)
		}
		writers = append(writers, c)
	}
	c := h.dial("127.0.0.2")
	c.write(start)
	got := c.read("POST").want(t, 429)
	if p := got.problem(t); p["type"] != "urn:problem-type:belgif:tooManyRequests" || p["limit"] != 3.0 ||
		retryAfterOf(t, got) != time.Second {
		t.Errorf("%v %s", got.header, got.body)
	}
	h.get(box).want(t, 200) // another caller
	_ = writers[0].conn.Close()
	eventually(t, "the next call", func() bool { return h.as("127.0.0.2", "GET", box).status == 200 })
}
