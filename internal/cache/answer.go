package cache

import (
	"bytes"
	"ebox-gateway/internal/call"
	"io"
	"maps"
	"net/http"
	"strconv"
	"time"
)

// answer makes the answer that an entry is to this request: whole, a part of it, or the
// word that the caller has it already. Its header may be the entry's own, which nobody
// may change. What no-cache names is left out of an answer that is not validated.
func (rd *reading) answer(e *Entry, now time.Time, how string, validated bool) *call.Answer {
	rd.x.Record.Cache = how
	a := &call.Answer{
		Header: e.Header, ProtoMajor: e.ProtoMajor, ProtoMinor: e.ProtoMinor, Cache: how, Age: ageValue(e.age(now)),
	}
	if rd.q.conditional && e.notModified(rd.q.header) {
		a.Status, a.Header = http.StatusNotModified, notModifiedHeader(e.Header)
		return a
	}
	status, body, contentRange := e.part(rd.q.method, rd.field)
	a.Status, a.Body, a.Length = status, io.NopCloser(bytes.NewReader(body)), int64(len(body))
	without := e.facts.cc.noCacheFields
	if contentRange != "" || !validated && len(without) > 0 {
		a.Header = maps.Clone(e.Header)
	}
	if contentRange != "" {
		a.Header["Content-Range"] = []string{contentRange}
		a.Header["Content-Length"] = []string{strconv.Itoa(len(body))}
		if status == http.StatusRequestedRangeNotSatisfiable {
			delete(a.Header, "Content-Type")
			delete(a.Header, "Content-Encoding")
		}
	}
	if !validated {
		for _, name := range without {
			delete(a.Header, name)
		}
	}
	return a
}

// field gives a field of the request as the upstream gets it. What is asked in the
// background never asks for a part.
func (rd *reading) field(name string) []string {
	if rd.x.Background && (name == "Range" || name == "If-Range") {
		return nil
	}
	return rd.x.Field(name)
}

// notModifiedHeader keeps what a 304 carries (RFC 9110, section 15.4.5), and what
// identifies the answer.
func notModifiedHeader(h http.Header) http.Header {
	kept := make(http.Header, len(h))
	for name, values := range h {
		switch name {
		case "Content-Length", "Content-Type", "Content-Encoding", "Content-Language", "Content-Range", "Content-Md5",
			"Digest", "Content-Digest", "Repr-Digest":
		default:
			kept[name] = values
		}
	}
	return kept
}

func withTTL(how string, left time.Duration) string {
	var buf [64]byte
	b := append(buf[:0], how...)
	b = append(b, "; ttl="...)
	return string(strconv.AppendInt(b, floorSeconds(left), 10))
}

func floorSeconds(d time.Duration) int64 {
	s := int64(d / time.Second)
	if d < 0 && d%time.Second != 0 {
		s--
	}
	return s
}

func ageValue(age time.Duration) string {
	return strconv.FormatInt(min(int64(age/time.Second), int64(forever/time.Second)), 10)
}
