package redisstore_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/redisstore"
	"ebox-gateway/internal/redistest"
	"ebox-gateway/internal/testkit"
)

// request does what a request does of all that touches Redis, one after the other, and
// counts the calls that waited for Redis.
func request(t testing.TB, r *redisstore.Store) (waited int) {
	t.Helper()
	as := &issuer{t: t}
	k := keyOfAnswers("/messages")
	ctx := t.Context()
	_, _, load := r.Load(ctx, nil, k)
	as.obtain(r, "")
	bump := r.Bump(ctx, nil, k.Scopes()[0])
	_, _, list := r.List("https://registry.example").Load(ctx)
	_, spend := r.Spend(ctx, nil, "caller desk", rate(1e6), 1, false)
	for _, err := range []error{load, bump, list, spend} {
		if !leftAlone(err) {
			waited++
		}
	}
	return waited
}

func TestRequestsGoOnWhateverRedisDoes(t *testing.T) {
	for name, c := range map[string]struct {
		// trouble brings the server there, and gives its address and what heals it; state is what the
		// platform team sees.
		trouble func(*testing.T, *redistest.Server) (config.RedisAddress, func())
		state   string
	}{
		"down at the start, refused": {func(t *testing.T, s *redistest.Server) (config.RedisAddress, func()) {
			s.Stop()
			return single(s), s.Run
		}, redisstore.StateAway},
		"frozen": {func(t *testing.T, s *redistest.Server) (config.RedisAddress, func()) {
			s.Freeze()
			t.Cleanup(s.Thaw)
			return single(s), s.Thaw
		}, redisstore.StateAway},
		"slow": {func(t *testing.T, s *redistest.Server) (config.RedisAddress, func()) {
			d := delay(t, s.Addr, 200*time.Millisecond)
			return config.RedisAddress{Hosts: []string{d.addr}}, func() { d.by.Store(0) }
		}, redisstore.StateAway},
		"out of memory": {func(t *testing.T, s *redistest.Server) (config.RedisAddress, func()) {
			s.Do("CONFIG", "SET", "maxmemory", "1")
			return single(s), func() { s.Do("CONFIG", "SET", "maxmemory", "0") }
		}, redisstore.StateTroubled},
		"a replica that only reads": {func(t *testing.T, s *redistest.Server) (config.RedisAddress, func()) {
			s.Do("REPLICAOF", "127.0.0.1", "1")
			return single(s), func() { s.Do("REPLICAOF", "NO", "ONE") }
		}, redisstore.StateAway},
		"a wrong password": {func(t *testing.T, s *redistest.Server) (config.RedisAddress, func()) {
			a := user(s, "gateway", "~ebox:*", "&ebox:*", "+@all")
			a.Password = "wrong"
			return a, func() { s.Do("ACL", "SETUSER", "gateway", ">wrong") }
		}, redisstore.StateAway},
		"commands that are not allowed": {func(t *testing.T, s *redistest.Server) (config.RedisAddress, func()) {
			a := user(s, "gateway", "~ebox:*", "&ebox:*", "+@read", "+@connection", "+@pubsub")
			return a, func() { s.Do("ACL", "SETUSER", "gateway", "+@all") }
		}, redisstore.StateTroubled},
		"a channel that is not allowed": {func(t *testing.T, s *redistest.Server) (config.RedisAddress, func()) {
			a := user(s, "gateway", "~ebox:*", "+@all", "resetchannels")
			return a, func() { s.Do("ACL", "SETUSER", "gateway", "&ebox:*") }
		}, redisstore.StateTroubled},
		"a wrong type under every key": {func(t *testing.T, s *redistest.Server) (config.RedisAddress, func()) {
			before := idle(t, single(s))
			keep(t, before, keyOfAnswers("/messages"), subject)
			before.List("https://registry.example").Store(t.Context(), []byte("list"))
			request(t, before)
			for _, kind := range []string{"answer", "access", "list", "gcra"} {
				nameOf(t, s, kind) // was kept
			}
			for _, name := range s.Keys() {
				s.Do("DEL", name)
				s.Do("LPUSH", name, "x")
			}
			return single(s), func() {}
		}, ""},
		"too many clients": {func(t *testing.T, s *redistest.Server) (config.RedisAddress, func()) {
			s.Do("CONFIG", "SET", "maxclients", "1") // which this connection has
			return single(s), func() { s.Do("CONFIG", "SET", "maxclients", "1000") }
		}, redisstore.StateAway},
	} {
		t.Run(name, func(t *testing.T) {
			address, mend := c.trouble(t, redistest.Start(t))
			// The first requests meet the trouble, with nobody to warn them, and wait once.
			unwarned := idle(t, address, withTimeout(short))
			var all sync.WaitGroup
			for range 20 {
				all.Go(func() {
					if n := request(t, unwarned); c.state == redisstore.StateAway && n > 1 {
						t.Errorf("one of the first requests waited %d times", n)
					}
				})
			}
			all.Wait()
			if s := unwarned.Status(); c.state == redisstore.StateAway && s.Opened == 0 {
				t.Errorf("nobody counted: %+v", s)
			}
			r := replica(t, address, withTimeout(short))
			if c.state != "" {
				if s := awaitState(t, r, c.state); s.Reason == "" || s.Since.IsZero() {
					t.Errorf("nobody is told what is wrong: %+v", s)
				}
			}
			if c.state == redisstore.StateAway {
				for range 100 { // from then on nobody waits at all
					if n := request(t, r); n > 0 {
						t.Fatalf("a request waited %d times", n)
					}
				}
			}
			mend()
			awaitWell(t, r)
		})
	}
}

func TestWhatRedisSaysIsShownPrintableAndClipped(t *testing.T) {
	address := hostile(t, "-ERR \x1b[31m\u202e"+strings.Repeat("x", 10_000)+"\r\n", true)
	var log bytes.Buffer
	r := idle(t, address, func(o *redisstore.Options) { o.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	_, _, err := r.Load(t.Context(), nil, keyOfAnswers("/messages"))
	_, checked := r.Check(t.Context())
	if err == nil || checked == nil {
		t.Fatalf("%v, %v", err, checked)
	}
	for _, shown := range []string{r.Status().Reason, checked.Error(), log.String()} {
		if !strings.Contains(shown, "xxx") || len(shown) > 600 || strings.ContainsAny(shown, "\x1b\u202e") {
			t.Errorf("it is shown as %q", shown)
		}
	}
}

// Operations that fail together do for the same reason, which is shown once and on one line.
func TestTheReasonOfSeveralFailuresIsOneLine(t *testing.T) {
	server := redistest.Start(t)
	for want, address := range map[string]config.RedisAddress{
		"refused": {Hosts: []string{testkit.Address(t)}},
		"; ":      user(server, "nobody", "~*", "+@connection"), // which may neither EVALSHA nor HGETALL
	} {
		r := idle(t, address)
		_, _, err := r.Load(t.Context(), nil, keyOfAnswers("/messages"))
		if got := r.Status().Reason; err == nil || strings.Count(got, want) != 1 || strings.Contains(got, "\n") {
			t.Errorf("%q of %v", got, err)
		}
	}
}

// awaitWell waits until Redis is of use again.
func awaitWell(t *testing.T, r *redisstore.Store) {
	t.Helper()
	k := keyOfAnswers("/messages")
	testkit.Await(t, "Redis to be of use again", func() error {
		_, mark, err := r.Load(t.Context(), nil, k)
		if err == nil {
			err = r.Save(t.Context(), k, answer(subject), mark, time.Hour)
		}
		if err != nil {
			return err
		}
		if list, _, err := r.Load(t.Context(), nil, k); err != nil || len(list) == 0 {
			return errors.Join(err, errors.New("what was kept is not found"))
		}
		_, err = r.Spend(t.Context(), nil, "caller desk", rate(1e6), 1, false)
		return err
	})
	awaitUp(t, r)
}

func TestAFullMemoryDropsWhatWasWrittenOver(t *testing.T) {
	server, r := fresh(t, "--maxmemory-policy", "noeviction")
	k := keyOfAnswers("/messages")
	keep(t, r, k, subject)
	server.Do("CONFIG", "SET", "maxmemory", "1")
	if !kept(t, r, k) {
		t.Fatal("a full memory can still be read")
	}
	makeVoid(t, r, k.Scopes()[0])
	if kept(t, r, k) {
		t.Fatal("what was written over is still given")
	}
	server.Do("CONFIG", "SET", "maxmemory", "0")
	if kept(t, r, k) {
		t.Fatal("it came back")
	}
}

func TestACallerWhoGoesAwaySaysNothingAboutRedis(t *testing.T) {
	server, r := fresh(t)
	server.Freeze()
	defer server.Thaw()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, _, err := r.Load(ctx, nil, keyOfAnswers("/messages")); err == nil {
		t.Fatal("a frozen Redis answered")
	}
	if s := r.Status(); s.State != redisstore.StateUp {
		t.Fatalf("%+v", s)
	}
}

// delayed is a way to a server on which every answer comes late.
type delayed struct {
	addr string
	by   atomic.Int64 // nanoseconds
	// beforeNext is called before the next answer alone.
	beforeNext atomic.Pointer[func()]
}

func delay(t *testing.T, to string, by time.Duration) *delayed {
	t.Helper()
	d := new(delayed)
	d.by.Store(int64(by))
	d.addr = testkit.Accept(t, func(_ int, client net.Conn) {
		server, err := net.Dial("tcp", to)
		if err != nil {
			_ = client.Close()
			return
		}
		var asking sync.WaitGroup
		defer asking.Wait()
		asking.Go(func() {
			_, _ = io.Copy(server, client)
			_ = server.Close()
		})
		defer client.Close() // before the copying is waited for
		b := make([]byte, 64<<10)
		for {
			n, err := server.Read(b)
			if f := d.beforeNext.Swap(nil); f != nil {
				(*f)()
			}
			time.Sleep(time.Duration(d.by.Load()))
			if _, failed := client.Write(b[:n]); err != nil || failed != nil {
				return
			}
		}
	})
	return d
}
