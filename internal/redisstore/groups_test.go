package redisstore_test

import (
	"crypto/tls"
	"errors"
	"slices"
	"strings"
	"testing"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/redisstore"
	"ebox-gateway/internal/redistest"
	"ebox-gateway/internal/testkit"
)

// The rights that docs/redis.md says a user needs at the Sentinels.
var sentinelRights = []string{
	"resetkeys", "resetchannels", "nocommands", "&+switch-master", "&+replica-reconf-done",
	"+hello", "+auth", "+ping", "+subscribe", "+sentinel|get-master-addr-by-name", "+sentinel|sentinels",
}

func TestAFailoverOfSentinelsThatAskForTLSAndUsers(t *testing.T) {
	t.Parallel()
	dir := redistest.Dir(t)
	own := testkit.NewCertificate(t, nil)
	roots := own.Pool()
	certFile, keyFile := own.Files(t, dir)
	guard := redistest.Guard{
		CertFile: certFile, KeyFile: keyFile, TLS: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
		Rights: rights, SentinelRights: sentinelRights,
	}
	documented(t, sentinelRights[2:])
	group := redistest.StartSentinels(t, guard)
	address := config.RedisAddress{
		Kind: config.RedisSentinel, Hosts: group.Addrs, Master: group.Master, TLS: true,
		Username: "gateway", Password: "p@ss", SentinelUsername: "watch", SentinelPassword: "q&r",
	}
	works(t, address, withRoots(roots))
	for what, change := range map[string]func(*redisstore.Options){
		"a wrong password for the data":      func(o *redisstore.Options) { o.Address.Password = "wrong" },
		"a wrong password for the Sentinels": func(o *redisstore.Options) { o.Address.SentinelPassword = "wrong" },
		"no TLS":                             func(o *redisstore.Options) { o.Address.TLS = false },
		"an authority that is not trusted":   func(o *redisstore.Options) { o.Roots = nil },
	} {
		s := awaitState(t, replica(t, address, withRoots(roots), change), redisstore.StateAway)
		if s.Reason == "" || strings.Contains(s.Reason, "wrong\"") {
			t.Errorf("%s: %+v", what, s)
		}
	}
	failOver(t, group, address, withRoots(roots))
}

// failOver has the master fail, and sees that no replica gives what was written over in that moment.
func failOver(t *testing.T, group *redistest.Sentinels, address config.RedisAddress, change func(*redisstore.Options)) {
	t.Helper()
	var l listener
	first := replica(t, address, change, withTimeout(short))
	second := replica(t, address, change, withTimeout(short), withListener(&l))
	awaitWell(t, first)
	awaitUp(t, second)
	_, before := l.told()
	k := keyOfAnswers("/messages") // of which awaitWell has kept something
	group.Servers[0].Freeze()
	defer group.Servers[0].Thaw()
	_ = first.Bump(t.Context(), nil, k.Scopes()[0]) // a write in the worst of moments
	awaitState(t, first, redisstore.StateAway)
	group.AwaitMaster(group.Servers[1])
	testkit.Await(t, "Redis to be of use again", func() error {
		_, _, err := first.Load(t.Context(), nil, k)
		return err
	})
	if kept(t, first, k) || kept(t, second, k) {
		t.Error("what was written over is still given")
	}
	// The other replica was told, or has subscribed anew after that, and its memory is empty.
	testkit.Await(t, "the other replica's memory to be emptied", func() error {
		applied, flushed := l.told()
		if !slices.Contains(applied, k.Scopes()[0]) && flushed == before {
			return errors.New("it is not")
		}
		return nil
	})
}

func TestACluster(t *testing.T) {
	t.Parallel()
	nodes := redistest.StartCluster(t)
	more := []any{"+cluster|slots", "+cluster|shards", "+command", "+readonly", "+asking"}
	hosts := make([]string, 0, 8)
	var address config.RedisAddress
	for _, n := range nodes {
		address = user(n, "gateway", append(asAny(rights), more...)...)
		hosts = append(hosts, n.Addr)
	}
	address.Kind, address.Hosts = config.RedisCluster, hosts[:1]
	clear(hosts[1:])
	works(t, address)
	if all := hosts[:cap(hosts)]; all[1] != "" {
		t.Errorf("the library has changed the configuration's list: %q", all)
	}

	// A node that is gone takes the Cluster with it; that costs nobody much either.
	careful := replica(t, address, withTimeout(short))
	awaitUp(t, careful)
	nodes[2].Freeze()
	awaitState(t, careful, redisstore.StateAway)
	if n := request(t, careful); n > 0 {
		t.Errorf("a request waited %d times", n)
	}
	nodes[2].Thaw()
	awaitWell(t, careful)
}
