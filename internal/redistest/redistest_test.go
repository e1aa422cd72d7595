package redistest

import (
	"context"
	"testing"
	"time"
)

func TestAServerKeepsNothingAndComesBack(t *testing.T) {
	s := Start(t)
	s.Do("SET", "a", "1")
	s.Do("HSET", "b", "f", "2")
	if got := string(s.Everything()); len(s.Keys()) != 2 || len(got) == 0 {
		t.Fatalf("%v, %s", s.Keys(), got)
	}
	s.Freeze()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := s.Client().Ping(ctx).Err(); err == nil {
		t.Fatal("a frozen server answers")
	}
	s.Thaw()
	s.Do("PING")
	s.Stop()
	s.Run()
	if keys := s.Keys(); len(keys) != 0 {
		t.Fatalf("%v", keys)
	}
}
