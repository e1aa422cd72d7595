package redisstore

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/redistest"
	"ebox-gateway/internal/testkit"
)

// The rights that docs/redis.md says a Redis user needs, and no others.
var rights = []any{
	"resetkeys", "resetchannels", "nocommands", "~ebox:*", "&ebox:*",
	"+hello", "+auth", "+select", "+ping", "+time", "+subscribe", "+unsubscribe", "+publish", "+eval", "+evalsha",
	"+get", "+set", "+setnx", "+del", "+pttl", "+pexpire",
	"+hget", "+hmget", "+hgetall", "+hset", "+hsetnx", "+hdel", "+hexists", "+hlen",
}

func TestTheDocumentedRightsAreEnough(t *testing.T) {
	server := redistest.Start(t)
	server.Do(append([]any{"ACL", "SETUSER", "gateway", "on", ">p@ss"}, rights...)...)
	a := single(server)
	a.Username, a.Password = "gateway", "p@ss"
	works(t, a)
	text, err := os.ReadFile("../../docs/redis.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rights[2:] {
		if !strings.Contains(string(text), r.(string)) {
			t.Errorf("docs/redis.md does not name %s", r)
		}
	}
}

// works tries all that the gateway does with Redis.
func works(t *testing.T, a config.RedisAddress, change ...func(*Options)) {
	t.Helper()
	r, other := replica(t, a, change...), replica(t, a, change...)
	awaitWell(t, r)
	if _, err := r.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	as := &issuer{t: t}
	as.obtain(r, "")
	if as.obtain(other, ""); as.asked.Load() != 1 {
		t.Errorf("%d tokens were asked for", as.asked.Load())
	}
	r.List("https://registry.example").Store(t.Context(), []byte("list"))
	if list, _, err := other.List("https://registry.example").Load(t.Context()); err != nil || string(list) != "list" {
		t.Errorf("%q, %v", list, err)
	}
	k := keyOfAnswers("/messages")
	keep(t, r, k, subject)
	if err := r.Answers().Bump(t.Context(), nil, k.Scopes()[0]); err != nil || kept(t, other, k) {
		t.Errorf("a write does not count: %v", err)
	}
	awaitUp(t, r)
	awaitUp(t, other)

	awaitTogether(t, r, other)
	for i, one := range []*Store{r, other, r, other} {
		wait, err := one.Spend(t.Context(), nil, "caller desk", rate(3), 0.7, false)
		if err != nil || (wait == 0) != (i < 3) {
			t.Errorf("call %d of a burst of three: %s to wait, %v", i, wait, err)
		}
	}
}

func TestASocketAndADatabase(t *testing.T) {
	socket := filepath.Join(redistest.Dir(t), "s")
	redistest.Start(t, "--unixsocket", socket)
	works(t, config.RedisAddress{Hosts: []string{socket}, Database: 3})
}

func TestRedisOverTLS(t *testing.T) {
	dir := redistest.Dir(t)
	own := testkit.NewCertificate(t, nil)
	certFile, keyFile := own.Files(t, dir)
	port := redistest.Port(t)
	redistest.Start(t, "--tls-port", port, "--tls-cert-file", certFile, "--tls-key-file", keyFile,
		"--tls-ca-cert-file", certFile, "--tls-auth-clients", "no")
	a := config.RedisAddress{Hosts: []string{"127.0.0.1:" + port}, TLS: true}
	works(t, a, withRoots(own.Pool()))
	if s := awaitState(t, replica(t, a), StateAway); !strings.Contains(s.Reason, "certificate") {
		t.Errorf("a certificate that nobody vouches for: %+v", s)
	}
}

func TestCheckSaysWhatIsWrong(t *testing.T) {
	server := redistest.Start(t)
	server.Do("ACL", "SETUSER", "silent", "on", ">p", "~*", "+@all", "resetchannels")
	silent := single(server)
	silent.Username, silent.Password = "silent", "p"
	slow := delay(t, server.Addr, 60*time.Millisecond)
	server.Do("ACL", "SETUSER", "reader", "on", ">p", "~*", "&*", "+@read", "+@connection", "+@pubsub")
	reader := single(server)
	reader.Username, reader.Password = "reader", "p"
	for name, c := range map[string]struct {
		address config.RedisAddress
		want    string
	}{
		"refused":                   {config.RedisAddress{Hosts: []string{"127.0.0.1:" + redistest.Port(t)}}, "refused"},
		"no right to subscribe":     {silent, "NOPERM"},
		"no right to write":         {reader, "NOPERM"},
		"slower than requests wait": {config.RedisAddress{Hosts: []string{slow.addr}}, "no request waits longer"},
	} {
		if _, err := idle(t, c.address, withTimeout(0)).Check(t.Context()); err == nil ||
			!strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAnAddressWithoutAHostIsRefused(t *testing.T) {
	if _, err := New(Options{}); err == nil {
		t.Error("no host")
	}
}
