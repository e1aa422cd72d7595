package redisstore

import (
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/redistest"
	"ebox-gateway/internal/testkit"
)

// hostile answers whatever it is asked first with text, over and over if that is forever.
func hostile(t *testing.T, text string, forever bool) config.RedisAddress {
	t.Helper()
	return config.RedisAddress{Hosts: []string{testkit.Accept(t, func(_ int, c net.Conn) {
		defer c.Close()
		if _, err := c.Read(make([]byte, 1)); err != nil {
			return
		}
		for {
			if _, err := io.WriteString(c, text); err != nil || !forever {
				break
			}
		}
		_, _ = io.Copy(io.Discard, c)
	})}}
}

// Without the guard each of these ends the process: by gigabytes at once, or by its stack.
func TestAHostileRedisCannotUseUpTheMemory(t *testing.T) {
	for name, c := range map[string]struct {
		text    string
		forever bool
		says    string
	}{
		"elements":           {"*1000000000\r\n", false, "announces 1000000000 elements, more than 32768"},
		"a_negative_length":  {"*-2\r\n", false, "announces no length"},
		"bytes":              {"$100000000000\r\n", false, "announces 100000000000 bytes, more than 8388608"},
		"depth":              {"%1\r\n+a\r\n" + strings.Repeat("*1\r\n", 1000), false, "more than 16 deep"},
		"attributes":         {"|0\r\n", true, "begins no value"},
		"a_line_without_end": {strings.Repeat("+", 1000), true, "longer than 65536 bytes"},
		"full_levels": {
			strings.Repeat("%32768\r\n+a\r\n", 16) + "$8388608\r\n", false, "announce more than 67108864 bytes together"},
		"no_protocol_at_all": {"220 mail.example ESMTP\r\n", false, "begins no value"},
	} {
		t.Run(name, func(t *testing.T) {
			store := idle(t, hostile(t, c.text, c.forever))
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, _, err := store.Load(t.Context(), nil, keyOfAnswers("/messages"))
			runtime.ReadMemStats(&after)
			if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "redis.url") {
				t.Fatalf("the error is %v", err)
			}
			if took := after.TotalAlloc - before.TotalAlloc; took > 2*maxPending {
				t.Errorf("%d bytes were allocated", took)
			}
			if s := store.Status(); s.State != StateAway || !strings.Contains(s.Reason, c.says) {
				t.Errorf("%+v", s)
			}
		})
	}
}

func TestTheRepliesOfAllConnectionsAreBoundedTogether(t *testing.T) {
	var g guard
	// ask reads on a connection of its own a reply that announces a full value and does not end.
	ask := func() (*guarded, error) {
		ours, theirs := net.Pipe()
		_ = theirs.Close()
		c := &guarded{Conn: ours, pending: &g.pending}
		return c, c.follow(fmt.Appendf(nil, "$%d\r\nhalf", maxBulk))
	}
	held, err := ask()
	for n := 1; err == nil && n < maxPending/maxBulk; n++ {
		_, err = ask()
	}
	testkit.Must(t, err)
	if _, err := ask(); err == nil || !strings.Contains(err.Error(), "together") {
		t.Fatalf("one more: %v", err)
	}
	for range 2 { // what was given up counts once
		_ = held.Close()
	}
	if _, err := ask(); err != nil {
		t.Fatalf("in place of one that was given up: %v", err)
	}
	if _, err := ask(); err == nil {
		t.Fatal("closing twice made room for two")
	}
}

func TestWhatRedisSendsPassesTheGuard(t *testing.T) {
	client := newClient(single(redistest.Start(t)), nil, relaxed)
	defer client.Close()
	for _, command := range [][]any{
		{"COMMAND"}, {"CONFIG", "GET", "maxmemory"}, {"GET", "none"}, {"HMGET", "none", "a", "b"}, {"KEYS", "none"},
		{"EVAL", "redis.setresp(3) return {double = 3.5}", 0},
		{"EVAL", "local a = {} for i = 1, 32768 do a[i] = i end return a", 0},
		{"EVAL", "return string.rep('x', 8388608)", 0},
	} {
		for range 2 { // the second shows that the first was followed to its end
			if err := client.Do(t.Context(), command...).Err(); err != nil && !errors.Is(err, redis.Nil) {
				t.Fatalf("%v: %v", command, err)
			}
		}
	}
}

// An idle connection that has ended is noticed before it is used, as without the guard.
func TestAnIdleConnectionThatEndedIsNotUsedAgain(t *testing.T) {
	server := redistest.Start(t)
	client := newClient(single(server), nil, relaxed)
	defer client.Close()
	for range 20 {
		testkit.Must(t, client.Ping(t.Context()).Err())
		server.Do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
		testkit.Await(t, "the connection to be gone", func() error {
			if list := server.Do("CLIENT", "LIST").(string); strings.Count(list, "\n") > 1 {
				return errors.New(list)
			}
			return nil
		})
	}
}

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
