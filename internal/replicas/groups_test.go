package replicas

import (
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ebox-gateway/internal/cache"
	"ebox-gateway/internal/redistest"
)

// load keeps asking, as requests would, until stop is called; that gives how long each
// write was kept of those that began while away was set, the shortest first. Reads are
// given nothing anyway as long as a write is untold.
func load(r *Redis, away *atomic.Bool) (stop func() []time.Duration) {
	var done atomic.Bool
	var running sync.WaitGroup
	took := make([][]time.Duration, 4)
	for i := range took {
		running.Go(func() {
			for n := 0; !done.Load(); n++ {
				k := keyOfAnswers(fmt.Sprintf("/messages/%d/%d", i, n%50))
				write, without, began := n%10 == 0, away.Load(), time.Now()
				_, mark, _ := r.Answers().Load(context.Background(), nil, k)
				if write {
					_ = r.Answers().Bump(context.Background(), nil, k.Resource())
				}
				if write && without {
					took[i] = append(took[i], time.Since(began))
				}
				_ = r.Answers().Save(context.Background(), k, answer(subject), mark, time.Hour)
				time.Sleep(time.Millisecond) // the pace of the load
			}
		})
	}
	return func() []time.Duration {
		done.Store(true)
		running.Wait()
		all := slices.Concat(took...)
		slices.Sort(all)
		return all
	}
}

func TestAFailoverUnderLoad(t *testing.T) {
	t.Parallel()
	group := redistest.StartSentinels(t)
	address := Address{Kind: Sentinel, Hosts: group.Addrs, Master: group.Master}
	first, second := replica(t, address, withPatience(0)), replica(t, address, withPatience(0))
	awaitWell(t, first)
	awaitUp(t, second)
	e := new(ear)
	second.Listen(e)
	as := &issuer{t: t}
	token := as.obtain(first, "")
	var away atomic.Bool
	stopped := load(first, &away)
	k := keyOfAnswers("/written")
	redistest.Eventually(t, "an answer to be kept", func() error { // the load makes Redis slow now and then
		_, mark, err := first.Answers().Load(t.Context(), nil, k)
		if err != nil {
			return err
		}
		return first.Answers().Save(t.Context(), k, answer(subject), mark, time.Hour)
	})
	group.Servers[0].Freeze()
	away.Store(true)
	if s := awaitState(t, first, StateAway); s.Reason == "" {
		t.Errorf("%+v", s)
	}
	_ = first.Answers().Bump(t.Context(), nil, k.Scopes()[0]) // a write in the worst of moments
	group.AwaitMaster(group.Servers[1])
	away.Store(false)
	began := time.Now()
	awaitWell(t, first)
	awaitWell(t, second)
	t.Logf("of use again %s after the failover", time.Since(began))
	// A busy machine keeps some of them, and a Redis that is waited for all of them, for
	// as long as the patience.
	if took := stopped(); len(took) < 20 || took[len(took)/2] > defaultPatience/2 {
		t.Errorf("%d writes without Redis, the middle one of %v", len(took), took[len(took)/2:min(len(took)/2+1, len(took))])
	} else {
		t.Logf("%d writes without Redis: half of them within %s, all within %s", len(took), took[len(took)/2],
			took[len(took)-1])
	}
	// The other replica was told, or has subscribed anew after that, and its memory is
	// empty; and Redis has nothing of before.
	redistest.Eventually(t, "the other replica's memory to be emptied", func() error {
		news, flushed := e.heard()
		told := slices.ContainsFunc(news, func(i cache.Invalidation) bool {
			return i.Scope == k.Scopes()[0] || i.Scope == cache.Everything
		})
		if !told && flushed < 2 {
			return fmt.Errorf("flushed %d times", flushed)
		}
		return nil
	})
	if kept(t, second, k) {
		t.Error("what was written over is still given")
	}
	if got := as.obtain(second, ""); got.Hash() != token.Hash() {
		t.Log("the failover lost the token, which was asked for again")
	}
	if n := as.asked.Load(); n > 2 {
		t.Errorf("%d tokens were asked for", n)
	}
	group.Servers[0].Thaw()
}

// The rights that docs/redis.md says a user needs at the Sentinels.
var sentinelRights = []string{
	"resetkeys", "resetchannels", "nocommands", "&+switch-master", "&+replica-reconf-done",
	"+hello", "+auth", "+ping", "+subscribe", "+sentinel|get-master-addr-by-name", "+sentinel|sentinels",
}

func TestSentinelsThatAskForTLSAndUsers(t *testing.T) {
	t.Parallel()
	dir := redistest.Dir(t)
	trusted := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: certificate(t, dir)}
	guard := redistest.Guard{CertFile: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem"),
		TLS: trusted, SentinelRights: sentinelRights}
	for _, r := range rights {
		guard.Rights = append(guard.Rights, r.(string))
	}
	text, err := os.ReadFile("../../docs/redis.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range sentinelRights[2:] {
		if !strings.Contains(string(text), r) {
			t.Errorf("docs/redis.md does not name %s", r)
		}
	}
	group := redistest.StartGuardedSentinels(t, guard)
	address := Address{
		Kind: Sentinel, Hosts: group.Addrs, Master: group.Master, TLS: trusted,
		Username: "gateway", Password: "p@ss", SentinelUsername: "watch", SentinelPassword: "q&r",
	}
	r := replica(t, address)
	awaitWell(t, r)
	if _, err := r.Check(t.Context()); err != nil {
		t.Error(err)
	}
	as := &issuer{t: t}
	as.obtain(r, "")
	for what, change := range map[string]func(*Address){
		"a wrong password for the data":      func(a *Address) { a.Password = "wrong" },
		"a wrong password for the Sentinels": func(a *Address) { a.SentinelPassword = "wrong" },
		"no TLS":                             func(a *Address) { a.TLS = nil },
		"an authority that is not trusted":   func(a *Address) { a.TLS = &tls.Config{MinVersion: tls.VersionTLS12} },
	} {
		wrong := address
		change(&wrong)
		if s := awaitState(t, replica(t, wrong), StateAway); s.Reason == "" || strings.Contains(s.Reason, "wrong\"") {
			t.Errorf("%s: %+v", what, s)
		}
	}
	// A failover, with all of that.
	group.Servers[0].Stop()
	awaitState(t, r, StateAway)
	group.AwaitMaster(group.Servers[1])
	awaitWell(t, r)
}

func TestACluster(t *testing.T) {
	t.Parallel()
	nodes := redistest.StartCluster(t)
	address := Address{Kind: Cluster, Username: "gateway", Password: "p@ss"}
	more := []any{"+cluster|slots", "+cluster|shards", "+command", "+readonly", "+asking"}
	for _, n := range nodes {
		n.Do(slices.Concat([]any{"ACL", "SETUSER", "gateway", "on", ">p@ss"}, rights, more)...)
	}
	for _, n := range nodes[:2] {
		address.Hosts = append(address.Hosts, n.Addr)
	}
	writer, reader := replica(t, address), replica(t, address)
	awaitWell(t, writer)
	e := new(ear)
	reader.Listen(e)
	awaitUp(t, reader)

	as := &issuer{t: t}
	if as.obtain(writer, "").Hash() != as.obtain(reader, "").Hash() || as.asked.Load() != 1 {
		t.Fatalf("%d tokens", as.asked.Load())
	}
	for i := range 30 { // on every node
		k := keyOfAnswers(fmt.Sprintf("/messages/%d", i))
		keep(t, writer, k, subject)
		if !kept(t, reader, k) {
			t.Fatalf("resource %d is not found", i)
		}
	}
	writer.List("https://registry.example").Store(t.Context(), []byte("list"))
	if list, _, err := reader.List("https://registry.example").Load(t.Context()); err != nil || string(list) != "list" {
		t.Fatalf("%q, %v", list, err)
	}
	k := keyOfAnswers("/messages/1")
	if err := writer.Answers().Bump(t.Context(), nil, k.Scopes()[0]); err != nil {
		t.Fatal(err)
	}
	if kept(t, reader, k) {
		t.Fatal("the write was not seen")
	}
	redistest.Eventually(t, "the news", func() error {
		if news, _ := e.heard(); len(news) != 1 {
			return fmt.Errorf("%v", news)
		}
		return nil
	})

	// A node that is gone takes the Cluster with it; that costs nobody much either.
	careful := replica(t, address, withPatience(0))
	awaitUp(t, careful)
	nodes[2].Freeze()
	awaitState(t, careful, StateAway)
	best := time.Hour
	for range 16 {
		if best = min(best, request(t, careful)); best <= bearable {
			break
		}
	}
	if best > bearable {
		t.Errorf("every request was kept for %s or more", best)
	}
	nodes[2].Thaw()
	awaitWell(t, careful)
}
