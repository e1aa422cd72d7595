package wire

import (
	"io"
	"net"
	"sync"
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

func TestWritingThatMakesProgressIsNeverCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		pipe := &slowPipe{Conn: here}
		c := NewSocket(pipe, time.Minute)
		go func() {
			p := make([]byte, mostWrite)
			for {
				time.Sleep(50 * time.Second)
				if _, err := io.ReadFull(there, p); err != nil {
					return
				}
			}
		}()
		if n, err := c.Write(make([]byte, 20*mostWrite)); n != 20*mostWrite || err != nil {
			t.Errorf("%d bytes: %v", n, err)
		}
		c.Close()
		there.Close()
		time.Sleep(time.Minute)
	})
}

func TestWritingThatStandsStillIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		c := NewSocket(here, time.Minute)
		began := time.Now()
		_, err := c.Write([]byte("x"))
		if took := time.Since(began); !IsTimeout(err) || took < time.Minute || took > 76*time.Second {
			t.Errorf("after %v: %v", took, err)
		}
		there.Close()
		c.Close()
	})
}

func TestDeadlinesAreSetSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		pipe := &slowPipe{Conn: here}
		c := NewSocket(pipe, time.Minute)
		var wait sync.WaitGroup
		wait.Go(func() { io.Copy(io.Discard, there) })
		for range 1000 {
			c.Write([]byte("x"))
		}
		if n := pipe.deadlines.Load(); n != 1 {
			t.Errorf("%d deadlines for 1000 writes at once, want 1", n)
		}
		c.Close()
		wait.Wait()
	})
}

// A paced Read has idle to itself however long the caller took before it.
func TestReadingThatMakesProgressIsNeverCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		c := NewSocket(here, time.Minute)
		c.paced = true
		go func() {
			for range 100 {
				time.Sleep(59 * time.Second)
				there.Write([]byte("x"))
			}
		}()
		p := make([]byte, 1)
		for i := range 100 {
			if i%10 == 9 {
				time.Sleep(time.Hour) // the caller is slow
			}
			if _, err := c.Read(p); err != nil {
				t.Fatal(i, err)
			}
		}
		began := time.Now()
		_, err := c.Read(p)
		if took := time.Since(began); !IsTimeout(err) || took < time.Minute || took > 76*time.Second {
			t.Errorf("after %v: %v", took, err)
		}
		c.Close()
		there.Close()
	})
}
