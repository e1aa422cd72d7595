package preflight

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/files"
	"ebox-gateway/internal/listen"
)

// Rights has a row for each file of a configuration that others than the gateway's user and
// group can read or change.
func Rights(cfg *config.Config) (checks []Check) {
	risk := func(advice, detail string, args ...any) {
		checks = append(checks, Check{Part: "rights", Result: Warning, Detail: fmt.Sprintf(detail, args...), Advice: advice})
	}
	folders := make(map[string]bool)
	public := publicFiles(cfg)
	for _, file := range cfg.Files() {
		info, err := os.Stat(file)
		if err != nil {
			continue // whoever needs it says so
		}
		switch mode := info.Mode().Perm(); {
		case mode&0o002 != 0:
			risk("chmod o-rwx it", "%s can be changed by every user of this machine (mode %04o)", file, mode)
		case mode&0o004 != 0 && !public[file]:
			risk("chmod o-rwx it", "%s can be read by every user of this machine (mode %04o)", file, mode)
		}
		folder := filepath.Dir(file)
		if folders[folder] {
			continue
		}
		folders[folder] = true
		// With the sticky bit, as /tmp has it, nobody can replace another's file.
		if info, err := os.Stat(folder); err == nil && info.Mode()&0o002 != 0 && info.Mode()&fs.ModeSticky == 0 {
			risk("chmod o-w it", "%s is a folder in which every user of this machine can replace files", folder)
		}
	}
	return checks
}

// publicFiles are those that hold nothing secret: certificates.
func publicFiles(cfg *config.Config) map[string]bool {
	public := map[string]bool{cfg.Egress.CAFile: true, cfg.Redis.CAFile: true, cfg.Tracing.CAFile: true}
	for _, l := range slices.Concat(cfg.Server.Listen, cfg.Admin.Listen) {
		if l.TLS != nil {
			public[l.TLS.CertFile], public[l.TLS.ClientCAFile] = true, true
		}
	}
	for _, c := range cfg.OAuth.Clients {
		if c.Certificate != nil {
			public[c.Certificate.File] = true
		}
	}
	return public
}

// checkSlips has a row for each value that looks like a slip.
func checkSlips(cfg *config.Config) (checks []Check) {
	for _, w := range cfg.Warnings() {
		checks = append(checks, Check{Part: "configuration", Where: fmt.Sprintf("%s:%d", filepath.Base(w.File), w.Line),
			Result: Warning, Detail: w.Path + ": " + w.Message})
	}
	return checks
}

// checkCertificates looks at the certificates of listeners, and at the authorities that are
// trusted, each bundle on its own, so that a broken one does not hide the next.
func checkCertificates(cfg *config.Config, now time.Time) (checks []Check) {
	authorities := map[string]string{"egress.caFile": cfg.Egress.CAFile, "redis.caFile": cfg.Redis.CAFile,
		"tracing.caFile": cfg.Tracing.CAFile}
	for i, l := range slices.Concat(cfg.Server.Listen, cfg.Admin.Listen) {
		key := "server.listen"
		if i >= len(cfg.Server.Listen) {
			key = "admin.listen"
		}
		if l.TLS != nil {
			checks = append(checks, checkCertificate(key, l, now))
			authorities["clientCaFile of "+l.Name] = l.TLS.ClientCAFile
		}
	}
	for _, key := range slices.Sorted(maps.Keys(authorities)) {
		if file := authorities[key]; file != "" {
			checks = append(checks, checkAuthorities(key, file, now))
		}
	}
	return checks
}

// checkCertificate looks at the certificate and key of one listener, and at the
// authorities of its callers.
func checkCertificate(key string, l config.Listener, now time.Time) Check {
	c := Check{Part: "certificate of " + key, Where: l.TLS.CertFile}
	made, _, err := listen.LoadTLS(*l.TLS)
	if err != nil {
		return c.is(Failed, err.Error(), "the gateway does not start like this: put certificate and key there, in PEM, and "+
			"the authorities of callers into clientCaFile")
	}
	leaf, err := x509.ParseCertificate(made.Certificates[0].Certificate[0])
	if err != nil {
		return c.is(Failed, err.Error(), "")
	}
	result, detail := validity(leaf.Subject.String(), leaf.NotBefore, leaf.NotAfter, now)
	switch {
	case now.After(leaf.NotAfter):
		return c.is(result, detail, "callers refuse it: put a new one in its place")
	case result == Warning:
		return c.is(result, detail, "request a new one now")
	}
	return c.is(result, detail, "")
}

func checkAuthorities(key, file string, now time.Time) Check {
	c := Check{Part: key, Where: file}
	var list []*x509.Certificate
	text, err := files.Text(file, files.Most)
	if err == nil {
		list, err = files.Certificates(text)
	}
	if err != nil {
		return c.is(Failed, files.Bare(err), "")
	}
	c = c.is(OK, fmt.Sprintf("%d authorities", len(list)), "")
	for _, authority := range list {
		if now.After(authority.NotAfter) {
			c.Result = Warning
			c.Detail += fmt.Sprintf("; %s has expired on %s", authority.Subject, authority.NotAfter.UTC().Format(time.DateOnly))
			c.Advice = "whatever it alone vouches for is refused: get its successor"
		}
	}
	return c
}

// leastToken is the fewest characters of an admin token that cannot be guessed, if they
// are random.
const leastToken = 16

// checkAdminToken looks at what protects changes from elsewhere.
func checkAdminToken(cfg *config.Config) []Check {
	const makes = "openssl rand -hex 32 makes one"
	c := Check{Part: "admin token", Where: cfg.Admin.TokenFile}
	if cfg.Admin.TokenFile == "" {
		beyond := slices.IndexFunc(cfg.Admin.Listen, func(l config.Listener) bool { return !l.OnLoopback() })
		if beyond < 0 {
			return nil
		}
		c.Where = cfg.Admin.Listen[beyond].Name
		return []Check{c.is(Warning, "the admin listener can be reached from elsewhere, and there is no admin.tokenFile: it "+
			"can be read, and changed from this machine alone",
			"if changes from elsewhere are wanted, add admin.tokenFile: "+makes)}
	}
	text, err := files.Text(cfg.Admin.TokenFile, files.Most)
	token := strings.TrimSpace(string(text))
	distinct := make(map[rune]bool)
	for _, r := range token {
		distinct[r] = true
	}
	switch {
	case err != nil:
		c = c.is(Failed, files.Bare(err), "without it no change from elsewhere is taken: "+makes)
	case token == "":
		c = c.is(Failed, "the file is empty", makes)
	case len(token) < leastToken || len(distinct) < leastToken/2:
		c = c.is(Warning, "the token can be guessed: it is short, or has few different characters", makes)
	default:
		c = c.is(OK, "there", "")
	}
	return []Check{c}
}

// descriptorsBesides are those that are needed besides callers' connections: files,
// upstreams, Redis, the admin listener.
const descriptorsBesides = 1000

// Descriptors compares what the configuration lets in with what the system allows
// this process; under another user or unit that may be another number.
func Descriptors(cfg *config.Config) []Check {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return nil
	}
	most := cfg.Server.Limits.MaxConnections
	if uint64(most)+descriptorsBesides <= limit.Cur {
		return nil
	}
	return []Check{Check{Part: "open files"}.is(Warning,
		fmt.Sprintf("server.limits.maxConnections is %d, and this process may have %d files open, connections among them",
			most, limit.Cur),
		fmt.Sprintf("raise LimitNOFILE of the unit (ulimit -n) to %d at least, or lower maxConnections",
			most+2*descriptorsBesides))}
}

// checkPorts tries the addresses. One that is in use by a gateway with the same
// listeners is as it should be: somebody checks the file beside the gateway that runs.
func checkPorts(cfg *config.Config, running func(config.Listener) bool) (checks []Check) {
	for _, l := range slices.Concat(cfg.Server.Listen, cfg.Admin.Listen) {
		opened, err := net.Listen("tcp", l.Address)
		if err == nil {
			err = opened.Close()
		}
		if err == nil {
			continue
		}
		c := Check{Part: "address", Where: l.Address, Detail: err.Error()}
		switch {
		case errors.Is(err, syscall.EADDRINUSE) && running(l):
			c = c.is(OK, "in use, by the gateway that runs", "")
		case errors.Is(err, syscall.EADDRINUSE):
			c = c.is(Failed, "another program uses it", "find it with ss -ltnp, or take another port")
		case errors.Is(err, fs.ErrPermission):
			c.Advice = "ports below 1024 need AmbientCapabilities=CAP_NET_BIND_SERVICE in the unit, or take another port"
		}
		checks = append(checks, c)
	}
	return checks
}
