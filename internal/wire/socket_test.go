package wire

import (
	"io"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// slowPipe is a connection whose other side takes a little at a time.
type slowPipe struct {
	net.Conn
	deadlines atomic.Int32
}

func (s *slowPipe) SetWriteDeadline(t time.Time) error {
	s.deadlines.Add(1)
	return s.Conn.SetWriteDeadline(t)
}

// standing runs a test of a Socket that may stand still for a minute, in a bubble of synctest.
func standing(t *testing.T, test func(t *testing.T, c *Socket, pipe *slowPipe, there net.Conn)) {
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		defer there.Close()
		pipe := &slowPipe{Conn: here}
		c := NewSocket(pipe, time.Minute)
		defer c.Close()
		test(t, c, pipe, there)
	})
}

// cut checks that reading or writing is given up after a minute, or little more.
func cut(t *testing.T, do func([]byte) (int, error)) {
	t.Helper()
	began := time.Now()
	_, err := do([]byte("x"))
	if took := time.Since(began); !IsTimeout(err) || took < time.Minute || took > 76*time.Second {
		t.Errorf("after %v: %v", took, err)
	}
}

func TestWritingIsCutOnlyIfItStandsStill(t *testing.T) {
	standing(t, func(t *testing.T, c *Socket, _ *slowPipe, there net.Conn) {
		go func() {
			for range 20 {
				time.Sleep(50 * time.Second)
				io.ReadFull(there, make([]byte, mostWrite))
			}
		}()
		if n, err := c.Write(make([]byte, 20*mostWrite)); n != 20*mostWrite || err != nil {
			t.Errorf("%d bytes: %v", n, err)
		}
		cut(t, c.Write)
	})
}

// A paced Read has idle to itself however long the caller took before it.
func TestReadingIsCutOnlyIfItStandsStill(t *testing.T) {
	standing(t, func(t *testing.T, c *Socket, _ *slowPipe, there net.Conn) {
		c.paced = true
		go func() {
			for range 20 {
				time.Sleep(59 * time.Second)
				there.Write([]byte("x"))
			}
		}()
		for i := range 20 {
			if i%10 == 9 {
				time.Sleep(time.Hour) // the caller is slow
			}
			if _, err := c.Read(make([]byte, 1)); err != nil {
				t.Fatal(i, err)
			}
		}
		cut(t, c.Read)
	})
}

func TestNothingIsReadOrWrittenOnceItIsCancelled(t *testing.T) {
	standing(t, func(t *testing.T, c *Socket, _ *slowPipe, _ net.Conn) {
		c.paced = true
		began := time.Now()
		c.Cancel()
		for _, do := range []func([]byte) (int, error){c.Read, c.Write} {
			if _, err := do([]byte("x")); !IsTimeout(err) || time.Since(began) > 0 {
				t.Errorf("after %v: %v", time.Since(began), err)
			}
		}
	})
}

func TestDeadlinesAreSetSeldom(t *testing.T) {
	standing(t, func(t *testing.T, c *Socket, pipe *slowPipe, there net.Conn) {
		go io.Copy(io.Discard, there)
		for range 1000 {
			c.Write([]byte("x"))
		}
		if n := pipe.deadlines.Load(); n != 1 {
			t.Errorf("%d deadlines for 1000 writes at once, want 1", n)
		}
	})
}
