package memory_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"

	"ebox-gateway/internal/memory"
	"ebox-gateway/internal/problem"
)

// Whatever requests do, and in whatever order they end: the budget holds the sum of what
// they hold, no party has more than half of it, and once all have ended nothing is left.
func TestWhatIsHeldIsGivenBackExactlyOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := int64(rapid.IntRange(1, 1<<20).Draw(t, "limit"))
		b := memory.NewBudget(limit)
		type request struct {
			memory.Account
			party int
			held  int64
			over  bool
		}
		requests := make([]request, rapid.IntRange(1, 6).Draw(t, "requests"))
		parties := []memory.Party{{Caller: "a"}, {Caller: "b"}}
		for i := range requests {
			requests[i].party = i % len(parties)
			requests[i].Open(b, parties[requests[i].party])
		}
		check := func() {
			var sum, beyond int64
			of := make([]int64, len(parties))
			for i := range requests {
				sum += requests[i].held
				of[requests[i].party] += requests[i].held
				beyond += memory.Free
			}
			if got := b.State().Held; got != sum {
				t.Fatalf("%d bytes are held, and the budget says %d", sum, got)
			}
			if sum > limit+beyond || of[0] > limit/2+beyond || of[1] > limit/2+beyond {
				t.Fatalf("%d bytes of %d are held, %v by party", sum, limit, of)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"hold": func(t *rapid.T) {
				r := &requests[rapid.IntRange(0, len(requests)-1).Draw(t, "which")]
				n := int64(rapid.IntRange(0, 1<<19).Draw(t, "bytes"))
				ok := r.Hold(n)
				if ok && r.over || !ok && !r.over && r.held+n <= memory.Free {
					t.Fatalf("holding %d beside %d: %v", n, r.held, ok)
				}
				if ok {
					r.held += n
				}
			},
			"give": func(t *rapid.T) {
				r := &requests[rapid.IntRange(0, len(requests)-1).Draw(t, "which")]
				n := int64(rapid.IntRange(0, 1<<19).Draw(t, "bytes"))
				r.Give(n)
				r.held = max(r.held-n, 0)
			},
			"close": func(t *rapid.T) {
				r := &requests[rapid.IntRange(0, len(requests)-1).Draw(t, "which")]
				r.Close()
				r.held, r.over = 0, true
			},
			"": func(*rapid.T) { check() },
		})
		for i := range requests {
			requests[i].Close()
			requests[i].held = 0
		}
		check()
	})
}

func TestConcurrentRequestsLeaveNothing(t *testing.T) {
	b := memory.NewBudget(100 << 10)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			var a memory.Account
			a.Open(b, memory.Party{})
			var parts sync.WaitGroup
			for range 4 {
				parts.Go(func() {
					for range 50 {
						if n := int64(rand.IntN(20 << 10)); a.Hold(n) && n%2 == 0 {
							a.Give(n)
						}
					}
				})
			}
			parts.Wait()
			a.Close()
		})
	}
	wg.Wait()
	if s := b.State(); s.Held != 0 || s.Refused == 0 {
		t.Errorf("%+v", s)
	}
}

// reader gives what it has and then waits: what it was asked for by then is all that may
// be held.
type reader struct {
	io.Reader
	budget *memory.Budget
	most   int64
}

func (r *reader) Read(p []byte) (int, error) {
	r.most = max(r.most, r.budget.State().Held)
	return r.Reader.Read(p[:min(len(p), 1000)])
}

func TestABufferGrowsWithWhatComes(t *testing.T) {
	b := memory.NewBudget(4 << 20)
	body := bytes.Repeat([]byte("0123456789"), 1000)
	for name, c := range map[string]struct {
		body   []byte
		length int64
		err    error
		most   int64
	}{
		"of a length":         {body, int64(len(body)), nil, 16 << 10},
		"of no length":        {body, -1, nil, 32 << 10},
		"of another length":   {body, 5000, nil, 12 << 10},
		"nothing":             {nil, -1, nil, 4 << 10},
		"a byte of a million": {body[:1], 1_000_000, io.ErrUnexpectedEOF, 4 << 10},
	} {
		t.Run(name, func(t *testing.T) {
			var a memory.Account
			a.Open(b, memory.Party{})
			defer a.Close()
			r := &reader{Reader: bytes.NewReader(c.body), budget: b}
			got, err := a.ReadAll(r, c.length)
			want := c.body
			if c.length >= 0 {
				want = want[:min(int64(len(want)), c.length)]
			}
			if !errors.Is(err, c.err) || err == nil && !bytes.Equal(got, want) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			if r.most > c.most {
				t.Errorf("%d bytes were held for %d", r.most, len(c.body))
			}
			if held := b.State().Held; err == nil && held != int64(cap(got)) {
				t.Errorf("%d bytes are held for a buffer of %d", held, cap(got))
			}
		})
	}
	if s := b.State(); s.Held != 0 {
		t.Errorf("%+v", s)
	}
}

func TestABodyBeyondTheBudgetIsRefused(t *testing.T) {
	b := memory.NewBudget(100 << 10)
	var a memory.Account
	a.Open(b, memory.Party{})
	defer a.Close()
	_, err := a.ReadAll(iotest.HalfReader(bytes.NewReader(make([]byte, 1<<20))), -1)
	p := problem.From(err)
	if p.Status != http.StatusServiceUnavailable || p.Header.Get("Retry-After") != "1" {
		t.Errorf("%v", err)
	}
}

func TestAnAccountOfNobodyHoldsEverything(t *testing.T) {
	for _, a := range []*memory.Account{nil, new(memory.Account)} {
		if !a.Hold(1 << 40) {
			t.Error("refused")
		}
		a.Give(1)
		a.Close()
		if !a.Hold(1) {
			t.Error("refused")
		}
	}
}

func TestABufferHoldsWhatItKeeps(t *testing.T) {
	const limit = 64 << 10
	b := memory.NewBudget(2 * limit)
	var a memory.Account
	a.Open(b, memory.Party{Caller: "a"})
	defer a.Close()
	kept := a.Buffer()
	for range limit / 1000 {
		if !kept.Append(make([]byte, 1000), limit) {
			t.Fatalf("%d bytes have no room", len(kept.Bytes())+1000)
		}
	}
	if held := b.State().Held; held < int64(len(kept.Bytes())) || held > limit {
		t.Errorf("%d bytes are held for %d", held, len(kept.Bytes()))
	}
	if kept.Append(make([]byte, 1000), limit) || len(kept.Bytes()) != 0 || b.State().Held != 0 {
		t.Errorf("beyond its limit it keeps %d bytes, and holds %d", len(kept.Bytes()), b.State().Held)
	}
}
