package config_test

import (
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ebox-gateway/internal/config"
)

func TestRedisURLsOfEveryKind(t *testing.T) {
	for url, want := range map[string]config.RedisAddress{
		"redis://cache":               {Kind: config.RedisSingle, Hosts: []string{"cache:6379"}},
		"redis://cache:7000/3":        {Kind: config.RedisSingle, Hosts: []string{"cache:7000"}, Database: 3},
		"redis://:pa%2Fss@[::1]:6380": {Kind: config.RedisSingle, Hosts: []string{"[::1]:6380"}, Password: "pa/ss"},
		"REDISS://gateway:p@cache.example.be:6379/0": {
			Kind: config.RedisSingle, Hosts: []string{"cache.example.be:6379"}, TLS: true, Username: "gateway", Password: "p"},
		"unix:///run/redis/redis.sock": {Kind: config.RedisSingle, Hosts: []string{"/run/redis/redis.sock"}, Socket: true},
		"unix://gateway:p@/run/redis.sock?db=2": {
			Kind: config.RedisSingle, Hosts: []string{"/run/redis.sock"}, Socket: true, Database: 2,
			Username: "gateway", Password: "p"},
		"redis-sentinel://gateway:p@s1:26379,s2,[::1]/mymaster/4": {
			Kind: config.RedisSentinel, Hosts: []string{"s1:26379", "s2:26379", "[::1]:26379"}, Master: "mymaster", Database: 4,
			Username: "gateway", Password: "p",
		},
		"rediss-sentinel://s1/mymaster?sentinelUsername=watch&sentinelPassword=q%26r": {
			Kind: config.RedisSentinel, Hosts: []string{"s1:26379"}, Master: "mymaster", TLS: true, SentinelUsername: "watch",
			SentinelPassword: "q&r",
		},
		"redis-cluster://gateway:p@n1:6379,n2:6380": {
			Kind: config.RedisCluster, Hosts: []string{"n1:6379", "n2:6380"}, Username: "gateway", Password: "p"},
		"rediss-cluster://n1/0": {Kind: config.RedisCluster, Hosts: []string{"n1:6379"}, TLS: true},
	} {
		got, err := config.Redis{URL: config.Secret(url)}.Address()
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", url, diff)
		}
	}
}

func TestRedisURLsThatCannotBe(t *testing.T) {
	for name, url := range map[string]string{
		"another scheme":           "http://cache:6379",
		"no scheme":                "cache:6379",
		"an empty host in a list":  "redis-cluster://n1,,n2",
		"two hosts for one server": "redis://n1,n2",
		"a port too high":          "redis-cluster://n1:6379,n2:70000",
		"a user in the middle":     "redis-cluster://n1,p@n2,hunter2@n3 ",
		"a database that is none":  "redis://n1/main",
		"a Cluster's database":     "redis-cluster://n1/1",
		"Sentinel without master":  "redis-sentinel://s1",
		"an unknown parameter":     "redis://n1?timeout=5",
		"a parameter twice":        "unix:///s?db=1&x=2",
		"a socket with a host":     "unix://n1/run/s",
		"a socket without a path":  "unix://",
		"an escape cut short":      "redis://:hunter2%@n1",
	} {
		a, err := config.Redis{URL: config.Secret(url)}.Address()
		if err == nil {
			t.Errorf("%s: %s is taken for %+v", name, url, a)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error shows the password: %v", name, err)
		}
	}
}

func FuzzRedisURL(f *testing.F) {
	for _, seed := range []string{"redis://u:p@h:1/2", "redis-sentinel://a,b/m/0?sentinelPassword=x",
		"rediss-cluster://a:1,[::1]", "unix:///s?db=1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := config.Redis{URL: config.Secret(s)}.Address()
		if err != nil {
			return
		}
		if len(a.Hosts) == 0 || a.Database < 0 || (a.Kind == config.RedisSentinel) != (a.Master != "") {
			t.Fatalf("%q is taken for %+v", s, a)
		}
		for _, h := range a.Hosts {
			if _, _, err := net.SplitHostPort(h); err != nil && !a.Socket {
				t.Fatalf("%q names the host %q: %v", s, h, err)
			}
		}
	})
}
