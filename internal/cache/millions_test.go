// Inside, since the first level is measured alone.

package cache

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/testkit"
)

// BenchmarkMillions measures what many small answers cost the collector: what an entry
// takes on the heap, its key included, how long a cycle works on them, and how long it
// stops everything. Once is enough: go test -run '^$' -bench Millions -benchtime 1x
func BenchmarkMillions(b *testing.B) {
	for _, n := range []int{0, 100_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			m := newMemory(1<<40, new(epochs), time.Now)
			before := heap()
			for i := range n {
				k := KeyOf(call.Partition{
					Route: "ebox-providers", Upstream: "https://services.example.be/REST/messageRegistry/v3",
					Client: "payroll self_service_expeditor_1234", Scopes: "scope:document:management:consult", Enterprise: 206731645,
				}, fmt.Sprintf("/messages/%08d", i))
				m.store(&k, fetched(b, i), time.Hour, time.Now())
			}
			after := heap()
			var pauses runtime.MemStats
			runtime.ReadMemStats(&pauses)
			stopped, busy := pauses.PauseTotalNs, spent()
			for b.Loop() {
				runtime.GC()
			}
			runtime.ReadMemStats(&pauses)
			cycles := float64(b.N)
			b.ReportMetric((spent()-busy)/cycles, "cpu-ms/cycle")
			b.ReportMetric(float64(pauses.PauseTotalNs-stopped)/1000/cycles, "stopped-µs/cycle")
			if n > 0 {
				b.ReportMetric(float64(after-before)/float64(n), "B/entry")
				b.ReportMetric(float64(m.bytes())/float64(n), "counted-B/entry")
			}
			if got := m.count(); got != int64(n) {
				b.Errorf("%d kept of %d", got, n)
			}
		})
	}
}

// fetched makes the entry of a message of some 800 bytes, with memory of its own as
// from the wire.
func fetched(tb testing.TB, i int) *Entry {
	body := fmt.Sprintf(`{"messageId":"%08d","subject":"%s"}`, i, strings.Repeat("x", 760))
	r := bufio.NewReader(
		strings.NewReader(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"+
			"Date: Sun, 22 Nov 2026 15:00:00 GMT\r\nCache-Control: max-age=300\r\nETag: \"%08d\"\r\nVary: Accept-Language\r\n"+
			"BelGov-Trace-Id: 7c3c2fb0-9a4e-4c9f-9a50-0000%08d\r\nX-Content-Type-Options: nosniff\r\nServer: upstream\r\n\r\n%s",
			len(body), i, i, body)))
	resp, err := http.ReadResponse(r, nil)
	testkit.Must(tb, err)
	whole, _ := io.ReadAll(resp.Body)
	now := time.Now()
	e := &Entry{
		Status: 200, ProtoMajor: 1, ProtoMinor: 1, Header: storedHeader(resp.Header, &call.Policy{}),
		Body:      append(make([]byte, 0, len(whole)), whole...),
		Requested: now, Received: now, Selecting: []Selecting{{Name: "Accept-Language", Value: strings.Clone("fr")}},
	}
	return e.prepare()
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}

// spent is the processor time that this process has taken so far, in milliseconds.
// Beside a collection it does nothing, and other programs do not count.
func spent() float64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e6
}
