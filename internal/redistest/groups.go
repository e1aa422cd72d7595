package redistest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"ebox-gateway/internal/testkit"
)

// Guard is what a group asks of whoever connects: TLS, and a user for the data and
// another one for the Sentinels.
type Guard struct {
	// CertFile and KeyFile are of one certificate for 127.0.0.1, its own authority.
	CertFile, KeyFile string
	// TLS is how to connect.
	TLS *tls.Config
	// Rights are those of the user "gateway" with the password "p@ss" on the data,
	// SentinelRights those of "watch" with "q&r" at the Sentinels. Nobody else gets in
	// but the group itself.
	Rights, SentinelRights []string
}

// Sentinels is a master with a replica, watched by three Sentinels.
type Sentinels struct {
	// Addrs are the Sentinels' host:port, Master the name of the group.
	Addrs  []string
	Master string
	// Servers are the master, as it was at first, and the replica.
	Servers []*Server

	t         testing.TB
	sentinels []*Server
}

// inside is the password of the group's own user.
const inside = "the-group-itself"

// StartSentinels starts a group that notices within half a second that its master is gone.
func StartSentinels(t testing.TB, guard Guard) *Sentinels {
	t.Helper()
	g := &Sentinels{Master: "ebox", t: t}
	startOne := func(args ...string) *Server {
		port := testkit.Port(t)
		return start(t, port, redis.Options{Password: inside, TLSConfig: guard.TLS}, slices.Concat(args, []string{
			"--port", "0", "--tls-port", port, "--tls-replication", "yes", "--tls-auth-clients", "no",
			"--tls-cert-file", guard.CertFile, "--tls-key-file", guard.KeyFile, "--tls-ca-cert-file", guard.CertFile,
		})...)
	}
	startNode := func(args ...string) *Server {
		return startOne(slices.Concat([]string{
			"--masterauth", inside, "--requirepass", inside, "--user", "gateway", "on", ">p@ss",
		}, guard.Rights, args)...)
	}
	master := startNode()
	replica := startNode("--replicaof", "127.0.0.1 "+portOf(master), "--repl-diskless-sync-delay", "0")
	g.Servers = []*Server{master, replica}
	testkit.Await(t, "the replica", func() error {
		if info := replica.Do("INFO", "replication").(string); !strings.Contains(info, "master_link_status:up") {
			return errors.New(info)
		}
		return nil
	})
	for range 3 {
		file := filepath.Join(t.TempDir(), "sentinel.conf") // which a Sentinel writes to
		conf := fmt.Sprintf(`sentinel monitor %[1]s 127.0.0.1 %[2]s 2
sentinel down-after-milliseconds %[1]s 500
sentinel failover-timeout %[1]s 3000
sentinel auth-pass %[1]s %[3]s
user default on >%[3]s ~* &* +@all
sentinel sentinel-user default
sentinel sentinel-pass %[3]s
user watch on >q&r %[4]s
`, g.Master, portOf(master), inside, strings.Join(guard.SentinelRights, " "))
		testkit.Write(t, file, conf)
		s := startOne(file, "--sentinel")
		g.sentinels = append(g.sentinels, s)
		g.Addrs = append(g.Addrs, s.Addr)
	}
	testkit.Await(t, "the Sentinels to know each other", func() error {
		for _, s := range g.sentinels {
			others, _ := s.Do("SENTINEL", "SENTINELS", g.Master).([]any)
			replicas, _ := s.Do("SENTINEL", "REPLICAS", g.Master).([]any)
			if len(others) != 2 || len(replicas) != 1 {
				return fmt.Errorf("%d others, %d replicas", len(others), len(replicas))
			}
		}
		return nil
	})
	return g
}

func portOf(s *Server) string {
	_, port, _ := net.SplitHostPort(s.Addr)
	return port
}

// AwaitMaster waits until the Sentinels have made a server the master.
func (g *Sentinels) AwaitMaster(s *Server) {
	g.t.Helper()
	testkit.Await(g.t, "the failover", func() error {
		for _, sentinel := range g.sentinels {
			addr, _ := sentinel.Do("SENTINEL", "GET-MASTER-ADDR-BY-NAME", g.Master).([]any)
			if len(addr) != 2 || addr[1] != portOf(s) {
				return fmt.Errorf("the master is %v", addr)
			}
		}
		if info := s.Do("INFO", "replication").(string); !strings.Contains(info, "role:master") {
			return errors.New("it is still a replica")
		}
		return nil
	})
}

// StartCluster starts a Cluster of three masters.
func StartCluster(t testing.TB) []*Server {
	t.Helper()
	var nodes []*Server
	buses := make([]string, 3) // on which the nodes speak to one another
	for i := range buses {
		buses[i] = testkit.Port(t)
		nodes = append(nodes, Start(t, "--cluster-enabled", "yes", "--cluster-node-timeout", "2000",
			"--cluster-port", buses[i]))
	}
	const slots = 16384
	for i, n := range nodes {
		n.Do("CLUSTER", "ADDSLOTSRANGE", i*slots/3, (i+1)*slots/3-1)
		n.Do("CLUSTER", "SET-CONFIG-EPOCH", i+1)
		if i > 0 {
			nodes[0].Do("CLUSTER", "MEET", "127.0.0.1", portOf(n), buses[i])
		}
	}
	testkit.Await(t, "the Cluster", func() error {
		for _, n := range nodes {
			info := n.client.ClusterInfo(context.Background()).Val()
			if !strings.Contains(info, "cluster_state:ok") || !strings.Contains(info, "cluster_known_nodes:3") {
				return errors.New(info)
			}
		}
		return nil
	})
	return nodes
}
