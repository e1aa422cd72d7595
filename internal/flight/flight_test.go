package flight_test

import (
	"context"
	"errors"
	"testing"

	"ebox-gateway/internal/flight"
)

func TestThoseWhoJoinGetWhatTheLeaderLands(t *testing.T) {
	var g flight.Group[string, int]
	f, leads := g.Join("a")
	other, others := g.Join("b")
	same, second := g.Join("a")
	if !leads || !others || second || same != f || other == f {
		t.Fatal("one leads for each key, and the others join it")
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := same.Wait(gone); !errors.Is(err, context.Canceled) {
		t.Errorf("one who went away waits: %v", err)
	}
	select {
	case <-f.Begun():
		t.Error("it has begun before anything came")
	default:
	}
	f.Begin()
	<-same.Begun()
	f.Land(1, nil)
	f.Land(2, errors.New("a second end"))
	if v, err := same.Wait(t.Context()); v != 1 || err != nil {
		t.Errorf("%d, %v", v, err)
	}
	other.Land(0, errors.New("nothing came"))
	<-other.Begun()
	if _, err := other.Wait(t.Context()); err == nil {
		t.Error("a failure is lost")
	}
	if _, leads := g.Join("a"); !leads {
		t.Error("a flight that has ended is joined")
	}
}
