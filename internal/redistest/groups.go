package redistest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

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

// StartSentinels starts a group that notices within half a second that its master is
// gone. The guard says who gets in.
func StartSentinels(t testing.TB, guard *Guard) *Sentinels {
	t.Helper()
	g := &Sentinels{Master: "ebox", t: t}
	master := startNode(t, guard)
	host, port, _ := net.SplitHostPort(master.Addr)
	replica := startNode(t, guard, "--replicaof", host+" "+port, "--repl-diskless-sync-delay", "0")
	g.Servers = []*Server{master, replica}
	Eventually(t, "the replica", func() error {
		if info := replica.Do("INFO", "replication").(string); !strings.Contains(info, "master_link_status:up") {
			return errors.New(info)
		}
		return nil
	})
	for range 3 {
		port := Port(t)
		file := filepath.Join(t.TempDir(), "sentinel.conf")
		conf := fmt.Sprintf("bind 127.0.0.1\ndir %s\nsentinel monitor %s %s %s 2\n"+
			"sentinel down-after-milliseconds %[2]s 500\nsentinel failover-timeout %[2]s 3000\n", filepath.Dir(file), g.Master,
			host, portOf(master)) +
			guard.sentinel(port, g.Master)
		if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
			t.Fatal(err)
		}
		s := start(t, guard, port, file, "--sentinel")
		g.sentinels = append(g.sentinels, s)
		g.Addrs = append(g.Addrs, s.Addr)
	}
	Eventually(t, "the Sentinels to know each other", func() error {
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
	Eventually(g.t, "the failover", func() error {
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
	for range 3 {
		nodes = append(nodes, Start(t, "--cluster-enabled", "yes", "--cluster-node-timeout", "2000",
			"--cluster-port", Port(t)))
	}
	const slots = 16384
	for i, n := range nodes {
		n.Do("CLUSTER", "ADDSLOTSRANGE", i*slots/3, (i+1)*slots/3-1)
		n.Do("CLUSTER", "SET-CONFIG-EPOCH", i+1)
	}
	for _, n := range nodes[1:] {
		nodes[0].Do("CLUSTER", "MEET", "127.0.0.1", portOf(n), busOf(n))
	}
	Eventually(t, "the Cluster", func() error {
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

// busOf is the port on which the nodes of a Cluster speak to one another.
func busOf(s *Server) string {
	for i, a := range s.args {
		if a == "--cluster-port" {
			return s.args[i+1]
		}
	}
	return ""
}
