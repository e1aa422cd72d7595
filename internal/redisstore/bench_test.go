package redisstore

import (
	"bytes"
	"testing"
	"time"

	"ebox-gateway/internal/redistest"
)

// page is as large as a page of messages.
var page = bytes.Repeat([]byte(`{"messageId":"0d9b8e9e-5a5c-4d57-9d9c-1f3f1a2b3c4d","subject":"Aanslagbiljet"},`), 100)

func BenchmarkSeal(b *testing.B) {
	r := ringOf(b, keyOf(b, "k1", 1))
	b.SetBytes(int64(len(page)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.seal(forAnswer, "at", page); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	r := ringOf(b, keyOf(b, "k1", 1))
	value, err := r.seal(forAnswer, "at", page)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(page)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.open(forAnswer, "at", value); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLoad(b *testing.B) {
	r := idle(b, single(redistest.Start(b)))
	k := keyOfAnswers("/messages")
	_, mark, err := r.Answers().Load(b.Context(), nil, k)
	if err != nil {
		b.Fatal(err)
	}
	e := answer("")
	e.Body = page
	if err := r.Answers().Save(b.Context(), k, e, mark, time.Hour); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if list, _, err := r.Answers().Load(b.Context(), nil, k); err != nil || len(list) != 1 {
			b.Fatal(len(list), err)
		}
	}
}

// A circuit that is open must cost next to nothing.
func BenchmarkLoadWhileRedisIsAway(b *testing.B) {
	server := redistest.Start(b)
	r := idle(b, single(server))
	server.Stop()
	k := keyOfAnswers("/messages")
	_, _, _ = r.Answers().Load(b.Context(), nil, k)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := r.Answers().Load(b.Context(), nil, k); err == nil {
			b.Fatal("it is there")
		}
	}
}
