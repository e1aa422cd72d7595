package cache

import (
	"bytes"
	"io"
	"maps"
	"math"
	"net/http"
	"strconv"
	"time"

	"ebox-gateway/internal/call"
)

// answer makes the answer that an entry is to this request: whole, a part of it, or the
// word that the caller has it already. Its header may be the entry's own, which nobody
// may change.
func (rd *reading) answer(e *Entry, now time.Time, how string) *call.Answer {
	rd.x.Record.Cache = how
	a := &call.Answer{
		Header: e.Header, ProtoMajor: e.ProtoMajor, ProtoMinor: e.ProtoMinor, Cache: how,
		Age: strconv.FormatInt(int64(min(e.age(now), forever)/time.Second), 10),
	}
	if rd.q.conditional && e.notModified(rd.x.Header) {
		a.Status, a.Header = http.StatusNotModified, maps.Clone(e.Header)
		maps.DeleteFunc(a.Header, func(name string, _ []string) bool { // RFC 9110, section 15.4.5
			return describesBytes(name) || name == "Content-Type" || name == "Content-Language"
		})
		return a
	}
	status, body, contentRange := e.part(rd.x)
	a.Status, a.Body, a.Length = status, io.NopCloser(bytes.NewReader(body)), int64(len(body))
	if contentRange != "" {
		a.Header = maps.Clone(e.Header)
		a.Header["Content-Range"] = []string{contentRange}
		a.Header["Content-Length"] = []string{strconv.Itoa(len(body))}
		if status == http.StatusRequestedRangeNotSatisfiable {
			delete(a.Header, "Content-Type")
			delete(a.Header, "Content-Encoding")
		}
	}
	return a
}

func withTTL(how string, left time.Duration) string {
	return how + "; ttl=" + strconv.FormatInt(int64(math.Floor(left.Seconds())), 10)
}
