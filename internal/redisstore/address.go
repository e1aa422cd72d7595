package redisstore

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"

	"ebox-gateway/internal/config"
)

const (
	// dialLimit bounds a connection being made. It may be longer than a call: it
	// goes on for the next one to use when the one who asked has gone.
	dialLimit = time.Second
	// connections bounds the connections to one server; those that nobody used for
	// idleLimit are given up before something on the way forgets them.
	connections = 32
	idleLimit   = time.Minute
)

// newClient makes the client. Servers over TLS are trusted by roots, those of the system if
// nil. It repeats nothing: whoever asks goes on without Redis instead. Every call's context
// bounds it, which ContextTimeoutEnabled has respected.
func newClient(a config.RedisAddress, roots *x509.CertPool, timeout time.Duration) redis.UniversalClient {
	// The library writes what goes wrong to one logger for the whole program, as text.
	// All of it comes back as errors too, which go to the Store's own log.
	logging.Disable()
	limit := max(timeout, dialLimit)
	o := &redis.UniversalOptions{
		// The library appends to it: two clients must not share what it lies in.
		Addrs: slices.Clone(a.Hosts), DB: a.Database, Username: a.Username, Password: a.Password,
		MaxRetries: -1, DialTimeout: limit, DialerRetries: 1, ReadTimeout: limit, WriteTimeout: limit, PoolTimeout: limit,
		ContextTimeoutEnabled: true, PoolSize: connections, ConnMaxIdleTime: idleLimit, PipelinePoolSize: -1,
		DisableIdentity:          true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	g := &guard{dialer: net.Dialer{Timeout: limit}}
	if a.TLS {
		g.tls = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
	}
	o.Dialer = g.dial
	switch a.Kind {
	case config.RedisSingle: // a host that begins with a slash is a Unix socket
	case config.RedisSentinel:
		o.MasterName, o.SentinelUsername, o.SentinelPassword = a.Master, a.SentinelUsername, a.SentinelPassword
	case config.RedisCluster:
		o.IsClusterMode, o.MaxRedirects = true, 2
	}
	return redis.NewUniversalClient(o)
}
