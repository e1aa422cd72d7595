package redisstore

import (
	"context"
	"crypto/tls"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"ebox-gateway/internal/config"
)

// Address is where Redis is and how to log in.
type Address struct {
	Kind config.RedisKind
	// Hosts are host:port: of the server, of the Sentinels, or of some nodes of the
	// Cluster. The path of a Unix socket begins with a slash.
	Hosts []string
	// Master is the name by which the Sentinels know the master.
	Master string
	// Database is the number of the database; a Cluster has 0 alone.
	Database                           int
	Username, Password                 string
	SentinelUsername, SentinelPassword string
	// TLS encrypts all connections; nil for none.
	TLS *tls.Config
}

const (
	// dialLimit bounds a connection being made. It may be longer than a call: it
	// goes on for the next one to use when the one who asked has gone.
	dialLimit = time.Second
	// connections bounds the connections to one server; those that nobody used for
	// idleLimit are given up before something on the way forgets them.
	connections = 32
	idleLimit   = time.Minute
)

// client makes the client. It repeats nothing: whoever asks goes on without Redis
// instead. Every call's context bounds it, which ContextTimeoutEnabled has respected.
func (a Address) client(timeout time.Duration) (redis.UniversalClient, error) {
	if len(a.Hosts) == 0 {
		return nil, errors.New("preparing Redis: no host is given")
	}
	// The library tells what goes wrong to one logger for the whole program, as text.
	// All of it comes back as errors too, which go to the log that we were given.
	redis.SetLogger(quiet{})
	limit := max(timeout, dialLimit)
	o := &redis.UniversalOptions{
		Addrs: a.Hosts, DB: a.Database, Username: a.Username, Password: a.Password, TLSConfig: a.TLS,
		MaxRetries: -1, DialTimeout: limit, DialerRetries: 1, ReadTimeout: limit, WriteTimeout: limit, PoolTimeout: limit,
		ContextTimeoutEnabled: true, PoolSize: connections, ConnMaxIdleTime: idleLimit, PipelinePoolSize: -1,
		DisableIdentity:          true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	switch a.Kind {
	case config.RedisSingle: // a host that begins with a slash is a Unix socket
	case config.RedisSentinel:
		o.MasterName, o.SentinelUsername, o.SentinelPassword = a.Master, a.SentinelUsername, a.SentinelPassword
	case config.RedisCluster:
		o.IsClusterMode, o.MaxRedirects = true, 2
	}
	return redis.NewUniversalClient(o), nil
}

// quiet is a logger that says nothing.
type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}
