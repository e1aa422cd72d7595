// Inside, since the grammar of replies is fuzzed without a connection, in every way that pieces of them can come.

package redisstore

import (
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// FuzzReplies sees that bounds and verdicts do not depend on the pieces in which replies come.
func FuzzReplies(f *testing.F) {
	for _, text := range []string{
		"+OK\r\n", "-ERR no\r\n:1\r\n", "$3\r\nabc\r\n", "$-1\r\n", "*2\r\n$1\r\na\r\n*-1\r\n", "%1\r\n+a\r\n,1.5\r\n",
		"*1000000000\r\n", "$9999999999\r\n", "|1\r\n+a\r\n+b\r\n", "*0\r\n~1\r\n#t\r\n>2\r\n+x\r\n_\r\n",
		"=8\r\ntxt:abcd\r\n",
		strings.Repeat("*1\r\n", 20), strings.Repeat("*32768\r\n", 16), "\n", "\r\n", "$+3\r\nabc\r\n", "$3\r\n\r\n*9\r\n",
	} {
		f.Add([]byte(text), byte(3))
	}
	f.Fuzz(func(t *testing.T, text []byte, size byte) {
		var g guard
		c := &guarded{pending: &g.pending}
		var refused error
		for rest := text; len(rest) > 0 && refused == nil; {
			n := min(len(rest), int(size)+1)
			refused = c.follow(rest[:n])
			rest = rest[n:]
		}
		if len(c.open) > maxDepth || len(c.line) > maxLine || c.bulk > maxBulk+2 {
			t.Fatalf("%d levels, a line of %d bytes, %d bytes to come", len(c.open), len(c.line), c.bulk)
		}
		if want := (&guarded{pending: new(atomic.Int64)}).follow(text); (refused == nil) != (want == nil) {
			t.Fatalf("%q: %v, as a whole %v", text, refused, want)
		}
		if refused == nil && len(c.open) == 0 && c.bulk == 0 && g.pending.Load() != 0 {
			t.Fatalf("%q has ended, and %d bytes are pending", text, g.pending.Load())
		}
	})
}

// follow has no goroutine of its own: a connection may be closed while it is read.
func TestAConnectionMayBeClosedWhileItIsRead(t *testing.T) {
	var g guard
	for range 100 {
		ours, theirs := net.Pipe()
		c := &guarded{Conn: ours, pending: &g.pending}
		var all sync.WaitGroup
		all.Go(func() { _, _ = io.Copy(io.Discard, c) })
		all.Go(func() {
			_, _ = io.WriteString(theirs, "*2\r\n$100\r\nhalf")
			_ = theirs.Close()
		})
		all.Go(func() { _ = c.Close() })
		all.Wait()
		_ = c.follow([]byte("$100\r\n")) // what a reader may have had in its hands
	}
	if n := g.pending.Load(); n != 0 {
		t.Errorf("%d bytes are pending when all is closed", n)
	}
}
