package redisstore_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/redisstore"
	"ebox-gateway/internal/redistest"
	"ebox-gateway/internal/testkit"
)

// The rights that docs/redis.md says a Redis user needs, and no others.
var rights = []string{
	"resetkeys", "resetchannels", "nocommands", "~ebox:*", "&ebox:*",
	"+hello", "+auth", "+select", "+ping", "+time", "+subscribe", "+unsubscribe", "+publish", "+eval", "+evalsha",
	"+get", "+set", "+del", "+pttl", "+pexpire",
	"+hget", "+hmget", "+hgetall", "+hset", "+hdel", "+hexists", "+hlen",
}

// documented checks that docs/redis.md names the rights.
func documented(t *testing.T, rights []string) {
	t.Helper()
	text := testkit.Read(t, "../../docs/redis.md")
	for _, r := range rights {
		if !strings.Contains(text, r) {
			t.Errorf("docs/redis.md does not name %s", r)
		}
	}
}

func TestTheDocumentedRightsAreEnough(t *testing.T) {
	documented(t, rights[2:])
	socket := filepath.Join(redistest.Dir(t), "s")
	server := redistest.Start(t, "--unixsocket", socket)
	for database, host := range []string{server.Addr, socket} {
		a := user(server, "gateway", asAny(rights)...)
		a.Hosts, a.Database = []string{host}, database
		works(t, a)
	}
}

func asAny(texts []string) (list []any) {
	for _, text := range texts {
		list = append(list, text)
	}
	return list
}

// works tries all that the gateway does with Redis.
func works(t *testing.T, a config.RedisAddress, change ...func(*redisstore.Options)) (r *redisstore.Store) {
	t.Helper()
	var own, told listener
	r = replica(t, a, append(slices.Clone(change), withListener(&own))...)
	other := replica(t, a, append(slices.Clone(change), withListener(&told))...)
	awaitWell(t, r)
	awaitWell(t, other)
	if _, err := idle(t, a, change...).Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	as := &issuer{t: t}
	if as.obtain(r, "").Hash() != as.obtain(other, "").Hash() || as.asked.Load() != 1 {
		t.Errorf("%d tokens were asked for", as.asked.Load())
	}
	r.List("https://registry.example").Store(t.Context(), []byte("list"))
	if list, _, err := other.List("https://registry.example").Load(t.Context()); err != nil || string(list) != "list" {
		t.Errorf("%q, %v", list, err)
	}
	for i := range 30 { // on every node, if there are some
		k := keyOfAnswers(fmt.Sprint("/messages/", i))
		keep(t, r, k, subject)
		if !kept(t, other, k) {
			t.Errorf("resource %d is not found", i)
		}
	}
	k := keyOfAnswers("/messages/1")
	makeVoid(t, r, k.Resource())
	if kept(t, other, k) {
		t.Error("a write does not count")
	}
	told.await(t, r, k.Resource())
	if applied, _ := own.told(); len(applied) > 0 {
		t.Errorf("the writer told itself: %v", applied)
	}
	awaitTogether(t, r, other)
	for i, one := range []*redisstore.Store{r, other, r, other} {
		wait, err := one.Spend(t.Context(), nil, "caller phone", rate(3), 0.7, false)
		if err != nil || (wait == 0) != (i < 3) {
			t.Errorf("call %d of a burst of three: %s to wait, %v", i, wait, err)
		}
	}
	awaitUp(t, r)
	return r
}

func TestCheckSaysWhatIsWrong(t *testing.T) {
	server := redistest.Start(t)
	silent := user(server, "silent", "~*", "+@all", "resetchannels")
	reader := user(server, "reader", "~*", "&*", "+@read", "+@connection", "+@pubsub")
	slow := delay(t, server.Addr, 60*time.Millisecond)
	for name, c := range map[string]struct {
		address config.RedisAddress
		want    string
	}{
		"refused":                   {config.RedisAddress{Hosts: []string{testkit.Address(t)}}, "refused"},
		"no right to subscribe":     {silent, "NOPERM"},
		"no right to write":         {reader, "NOPERM"},
		"slower than requests wait": {config.RedisAddress{Hosts: []string{slow.addr}}, "no request waits longer"},
	} {
		testkit.Await(t, name, func() error { // a busy machine may be what is wrong
			_, err := idle(t, c.address, withTimeout(short)).Check(t.Context())
			if err == nil {
				t.Fatalf("%s: nothing is wrong", name)
			}
			if strings.Contains(err.Error(), c.want) {
				return nil
			}
			return err
		})
	}
}
