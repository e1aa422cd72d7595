package resilience

import (
	"testing"
	"time"

	"ebox-gateway/internal/enterprise"
)

func TestTheLedgerStaysSmall(t *testing.T) {
	l := newLedger(10 * time.Second)
	for i := range 100_000 {
		who := tenant{number: enterprise.Number(i)}
		l.arrived(who, 0)
		l.failed(who, 0)
	}
	if n := len(l.suspects); n != maxSuspects {
		t.Fatalf("%d suspects, want %d", n, maxSuspects)
	}
	// The one that fails most is not lost among those that failed once.
	worst := tenant{number: first}
	for range 5 {
		l.failed(worst, 0)
	}
	for i := range 1000 {
		l.failed(tenant{number: enterprise.Number(1_000_000 + i)}, 0)
	}
	if s := l.suspects[worst]; s == nil || s.failures[0] != 5 {
		t.Fatal("the enterprise that failed most was forgotten")
	}
}

func TestSuspicionLeavesWithTheWindow(t *testing.T) {
	l := newLedger(10 * time.Second)
	l.failed(tenant{number: first}, seconds(0.5))
	l.failed(tenant{number: second}, seconds(5))
	l.succeeded(tenant{number: third}, seconds(10.1))
	if l.suspects[tenant{number: first}] != nil || l.suspects[tenant{number: second}] == nil {
		t.Fatalf("suspects after ten seconds: %v", l.suspects)
	}
	l.succeeded(tenant{number: third}, seconds(500))
	if len(l.suspects) != 0 {
		t.Fatalf("suspects after a long time: %v", l.suspects)
	}
}

func TestAloneInTheWindow(t *testing.T) {
	l := newLedger(10 * time.Second)
	for _, c := range []struct {
		who   enterprise.Number
		at    float64
		alone bool
	}{
		{first, 0, true}, {first, 1, true}, {second, 2, false}, {first, 11, false},
		{first, 12.5, true}, {third, 13, false}, {second, 14, false}, {second, 30, true},
	} {
		l.arrived(tenant{number: c.who}, seconds(c.at))
		if got := l.alone(seconds(c.at)); got != c.alone {
			t.Errorf("at %v s alone is %v", c.at, got)
		}
	}
}
