package redisstore_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/redisstore"
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
			if took := after.TotalAlloc - before.TotalAlloc; took > 128<<20 {
				t.Errorf("%d bytes were allocated", took)
			}
			if s := store.Status(); s.State != redisstore.StateAway || !strings.Contains(s.Reason, c.says) {
				t.Errorf("%+v", s)
			}
		})
	}
}

func TestTheRepliesOfAllConnectionsAreBoundedTogether(t *testing.T) {
	const full = 8 // replies of 8 MiB each, in which a pair counts for 128 bytes, are all that may be announced together
	var held atomic.Int64
	giveUp := make(chan struct{})
	// Each connection announces one and does not end it.
	r := idle(t, config.RedisAddress{Hosts: []string{testkit.Accept(t, func(_ int, c net.Conn) {
		if _, err := c.Read(make([]byte, 64<<10)); err != nil {
			return
		}
		held.Add(1)
		defer held.Add(-1)
		_, _ = io.WriteString(c, "%1\r\n+a\r\n$8388480\r\nhalf")
		closed := make(chan struct{})
		go func() {
			_, _ = io.Copy(io.Discard, c)
			close(closed)
		}()
		select {
		case <-closed:
		case <-giveUp:
		}
	})}})
	said := make(chan error, 2*full)
	ask := func() {
		_, err := r.Check(t.Context())
		said <- err
	}
	var all sync.WaitGroup
	together := func(err error) bool { return strings.Contains(err.Error(), "together") }
	// refused asks so often that one is refused and the others are held.
	refused := func(asked int) {
		for range asked {
			all.Go(ask)
		}
		if err := <-said; !together(err) {
			t.Errorf("one more than %d: %v", full, err)
		}
		testkit.Eventually(t, "the others to be held", func() bool { return held.Load() == full })
	}
	refused(full + 1)
	giveUp <- struct{}{}
	if err := <-said; together(err) {
		t.Errorf("a connection that Redis closed: %v", err)
	}
	refused(2) // the other takes the place of the one that was given up
	close(giveUp)
	all.Wait()
	close(said)
	for err := range said {
		if together(err) {
			t.Errorf("more than one is refused: %v", err)
		}
	}
}

func TestTheLargestThatRedisSendsPassesTheGuard(t *testing.T) {
	server, r := fresh(t)
	k := keyOfAnswers("/messages")
	keep(t, r, k, subject)
	server.Do("EVAL", "for i = 2, 32768 do redis.call('HSET', KEYS[1], i, 'x') end", 1, nameOf(t, server, "answer"))
	large := make([]byte, 8<<20-100) // with what stands before a sealed value, as much as may be announced
	_, _ = rand.Read(large)          // which cannot be compressed
	r.List("a").Store(t.Context(), large)
	for range 2 { // the second shows that the first was followed to its end
		if !kept(t, r, k) {
			t.Fatal("an answer with as many others as a reply may have is not found")
		}
		if list, _, err := r.List("a").Load(t.Context()); err != nil || !bytes.Equal(list, large) {
			t.Fatalf("a list of %d bytes: %v", len(list), err)
		}
	}
}

// An idle connection that has ended is noticed before it is used, as without the guard.
func TestAnIdleConnectionThatEndedIsNotUsedAgain(t *testing.T) {
	server := redistest.Start(t)
	r := idle(t, single(server))
	for range 20 {
		_, err := r.Spend(t.Context(), nil, "a", rate(60), 1, false)
		testkit.Must(t, err)
		server.Do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
		testkit.Await(t, "the connection to be gone", func() error {
			if list := server.Do("CLIENT", "LIST").(string); strings.Count(list, "\n") > 1 {
				return errors.New(list)
			}
			return nil
		})
	}
}
