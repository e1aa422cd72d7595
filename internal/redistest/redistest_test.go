package redistest

import (
	"context"
	"net"
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

func TestAPortIsNobodyElses(t *testing.T) {
	port := Port(t)
	if c, err := net.Dial("tcp", "127.0.0.1:"+port); err == nil {
		c.Close()
		t.Fatal("somebody listens there")
	}
	for range 2 {
		l, err := net.Listen("tcp", "127.0.0.1:"+port)
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
	}
	for range 1000 {
		if Port(t) == port {
			t.Fatal("it is given twice")
		}
	}
}
