package redistest

import (
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
	"testing"
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

// inside is the password of the group's own user.
const inside = "the-group-itself"

func (g *Guard) password() string {
	if g == nil {
		return ""
	}
	return inside
}

func (g *Guard) tls() *tls.Config {
	if g == nil {
		return nil
	}
	return g.TLS
}

// startNode starts a server of a group.
func startNode(t testing.TB, g *Guard, args ...string) *Server {
	t.Helper()
	port := Port(t)
	return start(t, g, port, slices.Concat([]string{
		"--port", "0", "--tls-port", port, "--save", "", "--appendonly", "no", "--tls-replication", "yes",
		"--tls-cert-file", g.CertFile, "--tls-key-file", g.KeyFile, "--tls-ca-cert-file", g.CertFile,
		"--tls-auth-clients", "no",
		"--masterauth", inside, "--requirepass", inside, "--user", "gateway", "on", ">p@ss",
	}, g.Rights, args)...)
}

// sentinel is the part of a Sentinel's configuration that depends on the guard.
func (g *Guard) sentinel(port, master string) string {
	return fmt.Sprintf("port 0\ntls-port %s\ntls-replication yes\ntls-cert-file %s\ntls-key-file %s\ntls-ca-cert-file "+
		"%[2]s\ntls-auth-clients no\n"+
		"sentinel auth-pass %[4]s %[5]s\nuser default on >%[5]s ~* &* +@all\nsentinel sentinel-user default\nsentinel "+
		"sentinel-pass %[5]s\nuser watch on >q&r %[6]s\n",
		port, g.CertFile, g.KeyFile, master, inside, strings.Join(g.SentinelRights, " "))
}
