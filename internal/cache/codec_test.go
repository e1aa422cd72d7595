// Inside, since what is read once and the bytes behind version and sum have no name outside.

package cache

import (
	"net/http"
	"reflect"
	"testing"
	"time"

	"ebox-gateway/internal/testkit"
)

func sample() *Entry {
	e := &Entry{
		Status: 200, ProtoMajor: 1, ProtoMinor: 1, Body: []byte("body"),
		Header:    http.Header{"Cache-Control": {"max-age=60"}, "Vary": {"Accept"}, "X-Two": {"1", "2"}},
		Requested: time.Unix(1, 5).UTC(), Received: time.Unix(2, 6).UTC(),
		Selecting: []Selecting{{Name: "Accept", Value: "text/html"}, {Name: "X-Kind", Absent: true}},
	}
	return e.prepare()
}

func TestAnEntryComesBackAsItWas(t *testing.T) {
	e := sample()
	b, err := e.MarshalBinary()
	testkit.Must(t, err)
	var back Entry
	testkit.Must(t, back.UnmarshalBinary(b))
	back.Requested, back.Received = back.Requested.UTC(), back.Received.UTC()
	back.facts.date = back.facts.date.UTC()
	if !reflect.DeepEqual(e, &back) {
		t.Errorf("%+v\n%+v", e, &back)
	}
	if back.Variant() != e.Variant() {
		t.Error("it has become another variant")
	}
}

func TestDamageIsNoticed(t *testing.T) {
	good, _ := sample().MarshalBinary()
	for i := range good {
		bad := append([]byte{}, good...)
		bad[i] ^= 0x10
		if err := new(Entry).UnmarshalBinary(bad); err == nil {
			t.Errorf("byte %d of %d changed unnoticed", i, len(good))
		}
		if err := new(Entry).UnmarshalBinary(good[:i]); err == nil {
			t.Errorf("cut at %d of %d unnoticed", i, len(good))
		}
	}
}

func FuzzEntry(f *testing.F) {
	good, _ := sample().MarshalBinary()
	f.Add(good[1 : len(good)-4])
	f.Add([]byte{})
	f.Add([]byte("GET\r\n\r\nHTTP/1.1 200 -1 99999999999999999999\r\n: \r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		// Behind the right version and sum, so that what is fuzzed is the reading.
		e := Entry{Status: 200, Header: http.Header{}}
		sealed := appendSum(append([]byte{codecVersion}, b...))
		if err := e.UnmarshalBinary(sealed); err != nil {
			return
		}
		if _, err := e.MarshalBinary(); err != nil {
			t.Fatal(err)
		}
	})
}
