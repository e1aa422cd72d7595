package config

import (
	"errors"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Redis is an optional store that replicas share. The gateway runs without it.
type Redis struct {
	// URL is redis://user:password@host:6379/0, or unix:///path/to/socket. Behind
	// Sentinel it is redis-sentinel://user:password@host1:26379,host2:26379/master/0,
	// with ?sentinelUsername= and sentinelPassword= if Sentinel itself asks for them.
	// For a Cluster it is redis-cluster://user:password@host1:6379,host2:6379. With rediss
	// in place of redis it is TLS. Default none.
	URL Secret `yaml:"url" config:",blank"`
	// CAFile holds, in PEM, certificate authorities trusted for TLS besides the
	// system's.
	CAFile string `yaml:"caFile" config:"file,blank"`
	// Timeout is the longest that a request waits for Redis when it asks. One that finds Redis
	// in trouble asks once; where it is only slow, all that a request asks may together take
	// 50 ms, or this if it is longer.
	Timeout time.Duration `yaml:"timeout" above:"0s" default:"25ms"`
	// Replicas is how many replicas a rate of scope cluster is shared among while Redis cannot
	// tell, since this replica has not reached it yet.
	Replicas int `yaml:"replicas" least:"1" most:"1000" default:"3"`
	// EncryptionKeys seal what is written there. The first writes, all read.
	// Without them nothing that belongs to an enterprise is written.
	EncryptionKeys []EncryptionKey `yaml:"encryptionKeys"`
}

// EncryptionKey is a key of AES-256-GCM.
type EncryptionKey struct {
	// ID is written beside what the key has sealed, up to 32 letters, digits,
	// "-" and "_". An id is never used again for another key.
	ID string `yaml:"id" jsonschema:"required" config:"keyid"`
	// File holds the key: 32 bytes, in base64 or hex.
	File string `yaml:"file" config:"file" jsonschema:"required"`
}

func (r *Redis) check(k *check) {
	if r.URL != "" {
		if _, err := r.Address(); err != nil {
			k.fail("redis.url", "%v", err)
		}
	} else if len(r.EncryptionKeys) > 0 && !k.given("redis.url") {
		k.fail("redis.encryptionKeys", "there is no redis.url, so there is nothing to encrypt: add it or leave the keys out")
	}
	seen := make(map[string]bool)
	for i, key := range r.EncryptionKeys {
		if key.ID != "" && seen[key.ID] {
			k.fail(item("redis.encryptionKeys", i)+".id",
				"the id %s is given twice: what one key has sealed could not be told from the other's", quote(key.ID))
		}
		seen[key.ID] = true
	}
}

// RedisKind is how Redis is set up.
type RedisKind string

// The kinds of Redis.
const (
	RedisSingle   RedisKind = "single"
	RedisSentinel RedisKind = "sentinel"
	RedisCluster  RedisKind = "cluster"
)

// RedisAddress is what redis.url says. It holds passwords and must not be printed.
type RedisAddress struct {
	Kind RedisKind
	// Hosts are host:port, with the default ports filled in: of the server, of the
	// Sentinels, or of some nodes of the Cluster. Of a socket it is the path.
	Hosts  []string
	Socket bool
	TLS    bool
	// Master is the name by which the Sentinels know the master.
	Master string
	// Database is the number of the database; a Cluster has 0 alone.
	Database                           int
	Username, Password                 string
	SentinelUsername, SentinelPassword string
}

// Address reads redis.url. The error, which holds nothing of it, was shown by Load.
func (r Redis) Address() (RedisAddress, error) {
	return parseRedis(r.URL.Reveal())
}

var errRedisURL = errors.New("this is no Redis URL: redis://user:password@host:6379/0 is expected, " +
	"unix:///path/to/socket, redis-sentinel://user:password@host1:26379,host2:26379/master/0 or " +
	"redis-cluster://user:password@host1:6379,host2:6379, " +
	"with rediss for TLS, special characters of the password as %XX")

// parseRedis takes the hosts out before net/url reads the rest: a URL has one host.
func parseRedis(s string) (RedisAddress, error) {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		return RedisAddress{}, errRedisURL
	}
	scheme = strings.ToLower(scheme)
	hosts := ""
	if scheme != "unix" {
		end := strings.IndexAny(rest, "/?#")
		if end < 0 {
			end = len(rest)
		}
		start := strings.LastIndexByte(rest[:end], '@') + 1
		hosts = rest[start:end]
		rest = rest[:start] + "host" + rest[end:]
	}
	u, err := url.Parse("redis://" + rest)
	if err != nil || u.Fragment != "" || strings.Contains(rest, "#") {
		return RedisAddress{}, errRedisURL
	}
	a := RedisAddress{Kind: RedisSingle, Username: u.User.Username(), TLS: strings.HasPrefix(scheme, "rediss")}
	a.Password, _ = u.User.Password()
	port, database := "6379", strings.Trim(u.Path, "/")
	switch strings.Replace(scheme, "rediss", "redis", 1) {
	case "redis":
	case "unix":
		a.Socket, a.Hosts, database = true, []string{u.Path}, ""
		if u.Host != "" || len(u.Path) < 2 {
			return RedisAddress{}, errRedisURL
		}
		if query := u.Query(); len(query) == 1 && query.Has("db") {
			database, u.RawQuery = query.Get("db"), ""
		}
	case "redis-sentinel":
		a.Kind, port = RedisSentinel, "26379"
		a.Master, database, _ = strings.Cut(database, "/")
		query := u.Query()
		a.SentinelUsername, a.SentinelPassword = query.Get("sentinelUsername"), query.Get("sentinelPassword")
		query.Del("sentinelUsername")
		query.Del("sentinelPassword")
		u.RawQuery = query.Encode()
		if a.Master == "" {
			return RedisAddress{},
				errors.New("the name of the master is missing: redis-sentinel://host1:26379,host2:26379/master/0 is expected")
		}
	case "redis-cluster":
		a.Kind = RedisCluster
		if database != "" && database != "0" {
			return RedisAddress{}, errors.New("a Cluster has database 0 alone: leave the number out")
		}
	default:
		return RedisAddress{}, errRedisURL
	}
	if u.RawQuery != "" {
		return RedisAddress{}, errors.New("this Redis URL has parameters after the \"?\" that are not known: a socket " +
			"takes db, Sentinel sentinelUsername and sentinelPassword")
	}
	if database != "" {
		n, err := strconv.ParseUint(database, 10, 16)
		if err != nil {
			return RedisAddress{}, errRedisURL
		}
		a.Database = int(n)
	}
	if a.Socket {
		return a, nil
	}
	for _, host := range strings.Split(hosts, ",") {
		h, err := redisHost(host, port)
		if err != nil {
			return RedisAddress{}, err
		}
		a.Hosts = append(a.Hosts, h)
	}
	if a.Kind == RedisSingle && len(a.Hosts) > 1 {
		return RedisAddress{}, errors.New("this Redis URL names several hosts: write redis-cluster:// for a Cluster, or " +
			"redis-sentinel:// for a group behind Sentinel")
	}
	return a, nil
}

func redisHost(s, port string) (string, error) {
	u, err := url.Parse("redis://" + s)
	if err != nil || u.Host != s || !isHost(u.Hostname()) || !validPort(u.Host, u.Port()) {
		return "", errRedisURL
	}
	if u.Port() != "" {
		port = u.Port()
	}
	return net.JoinHostPort(u.Hostname(), port), nil
}
