package replicas

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Kind is how Redis is set up.
type Kind uint8

// The kinds of Redis.
const (
	// Single is one server.
	Single Kind = iota
	// Sentinel is a master with replicas, watched by Sentinels.
	Sentinel
	// Cluster is a Redis Cluster.
	Cluster
)

func (k Kind) String() string { return [...]string{"single", "sentinel", "cluster"}[k] }

// Address is where Redis is and how to log in.
type Address struct {
	Kind Kind
	// Hosts are host:port: of the server, of the Sentinels, or of some nodes of the
	// Cluster. Of a Unix socket it is the path.
	Hosts  []string
	Socket bool
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
	// dialLimit bounds a connection being made. It may be longer than the patience: it
	// goes on for the next one to use when the one who asked has gone.
	dialLimit = time.Second
	// connections bounds the connections to one server; those that nobody used for
	// idleLimit are given up before something on the way forgets them.
	connections = 32
	idleLimit   = time.Minute
)

// client makes the client. It repeats nothing: whoever asks goes on without Redis
// instead. Every call's context bounds it, which ContextTimeoutEnabled has respected.
func (a Address) client(patience time.Duration) (redis.UniversalClient, error) {
	if len(a.Hosts) == 0 {
		return nil, errors.New("preparing Redis: no host is given")
	}
	// The library tells what goes wrong to one logger for the whole program, as text.
	// All of it comes back as errors too, which go to the log that we were given.
	redis.SetLogger(quiet{})
	limit := max(patience, dialLimit)
	switch a.Kind {
	case Single:
		network := "tcp"
		if a.Socket {
			network = "unix"
		}
		return redis.NewClient(&redis.Options{
			Network: network, Addr: a.Hosts[0], DB: a.Database, Username: a.Username, Password: a.Password, TLSConfig: a.TLS,
			MaxRetries: -1, DialTimeout: limit, DialerRetries: 1, ReadTimeout: limit, WriteTimeout: limit, PoolTimeout: limit,
			ContextTimeoutEnabled: true, PoolSize: connections, ConnMaxIdleTime: idleLimit, PipelinePoolSize: -1,
			DisableIdentity:          true,
			MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		}), nil
	case Sentinel:
		return redis.NewFailoverClient(&redis.FailoverOptions{
			MasterName: a.Master, SentinelAddrs: a.Hosts, SentinelUsername: a.SentinelUsername,
			SentinelPassword: a.SentinelPassword,
			DB:               a.Database, Username: a.Username, Password: a.Password, TLSConfig: a.TLS,
			MaxRetries: -1, DialTimeout: limit, DialerRetries: 1, ReadTimeout: limit, WriteTimeout: limit, PoolTimeout: limit,
			ContextTimeoutEnabled: true, PoolSize: connections, ConnMaxIdleTime: idleLimit, PipelinePoolSize: -1,
			DisableIdentity: true,
		}), nil
	case Cluster:
		return redis.NewClusterClient(&redis.ClusterOptions{
			Addrs: a.Hosts, Username: a.Username, Password: a.Password, TLSConfig: a.TLS,
			MaxRedirects: 2, MaxRetries: -1, DialTimeout: limit, DialerRetries: 1, ReadTimeout: limit, WriteTimeout: limit,
			PoolTimeout:           limit,
			ContextTimeoutEnabled: true, PoolSize: connections, ConnMaxIdleTime: idleLimit, PipelinePoolSize: -1,
			DisableIdentity:          true,
			MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		}), nil
	default:
		return nil, fmt.Errorf("preparing Redis: %d is no kind of it", a.Kind)
	}
}

// quiet is a logger that says nothing.
type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}
