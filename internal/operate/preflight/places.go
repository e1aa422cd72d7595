package preflight

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"ebox-gateway/internal/audit"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/evidence"
	"ebox-gateway/internal/files"
	"ebox-gateway/internal/redisstore"
)

// checkPlaces looks whether the files that the gateway opens at its start can be there:
// without one of them it does not start. Nothing is left behind.
func checkPlaces(cfg *config.Config) (checks []Check) {
	for _, place := range []struct{ part, key, file string }{
		{"security log", "log.security", cfg.Log.Security},
		{"checkpoints", "audit.checkpoints", cfg.Audit.Checkpoints},
	} {
		if place.file == "" || place.file == "stdout" || place.file == "stderr" {
			continue
		}
		c := Check{Part: place.part, Where: place.file, Result: OK, Detail: "written here"}
		if err := appendable(place.file); err != nil {
			c = c.is(Failed, "it cannot be written: "+files.Bare(err), "make the folder, writable for the gateway's user, or "+
				"change "+place.key+": the gateway does not start without it")
		}
		checks = append(checks, c)
	}
	return checks
}

// appendable reports whether a file can be written, or made in a folder that is there.
func appendable(file string) error {
	folder := filepath.Dir(file)
	if _, err := os.Stat(folder); err != nil {
		return errors.New("there is no folder " + folder)
	}
	info, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return makeable(folder)
	case err != nil:
		return err
	case info.IsDir():
		return errors.New("it is a folder")
	case !info.Mode().IsRegular():
		return nil // a pipe would wait for its reader
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	return f.Close()
}

// makeable reports whether something can be made in a folder, which may be missing
// itself, by making an empty folder in the nearest that there is and removing it again:
// permissions alone do not tell of file systems that are read-only, full, or none at all.
func makeable(folder string) error {
	info, err := os.Stat(folder)
	for parent := filepath.Dir(folder); (errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)) &&
		parent != folder; parent = filepath.Dir(folder) {
		folder = parent
		info, err = os.Stat(folder)
	}
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is no folder", folder)
	}
	trial, err := os.MkdirTemp(folder, ".gateway-check-*")
	if err != nil {
		return fmt.Errorf("nothing can be made in %s: %w", folder, err)
	}
	return os.Remove(trial)
}

// checkCollector looks whether somebody listens where traces are sent. Nothing is sent.
// Traces are given up where nobody does, and no request notices.
func (g check) checkCollector(ctx context.Context, u *url.URL) Check {
	port := cmp.Or(u.Port(), map[string]string{"https": "443", "http": "80"}[u.Scheme])
	c := Check{Part: "trace collector", Where: u.Host, Result: OK, Detail: "it takes connections"}
	began := g.Now()
	conn, err := (&net.Dialer{Timeout: g.patience}).DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	c.Took = g.Now().Sub(began)
	if err != nil {
		return c.is(Warning, "traces would be given up: "+err.Error(),
			"look at tracing.endpoint, and whether the collector runs; requests are served all the same")
	}
	_ = conn.Close() // nothing was sent
	return c
}

// checkEncryption loads the encryption keys.
func checkEncryption(c config.Redis) (checks []Check) {
	if c.URL != "" && len(c.EncryptionKeys) == 0 {
		return []Check{{Part: "encryption of Redis", Result: Warning, Detail: "redis.encryptionKeys is not set: " +
			"every replica asks for tokens of its own, and what belongs to an enterprise is kept in memory alone"}}
	}
	for i, k := range c.EncryptionKeys {
		check := Check{Part: "encryption key " + k.ID, Result: OK, Detail: "AES-256, reads"}
		if i == 0 {
			check.Detail = "AES-256, writes and reads"
		}
		if _, err := redisstore.LoadKey(k.ID, k.File); err != nil {
			check.Result, check.Detail = Failed, err.Error()
		}
		checks = append(checks, check)
	}
	return checks
}

// checkRedis asks Redis, which the gateway can do without: trouble is a warning.
func checkRedis(ctx context.Context, r *redisstore.Store) Check {
	c := Check{Part: "redis"}
	took, err := r.Check(ctx)
	if err != nil {
		return c.is(Warning, "the gateway would go on without it: "+err.Error(), "")
	}
	return c.is(OK, "can be read, written and subscribed to, in "+took.Round(100*time.Microsecond).String(), "")
}

// checkEvidence says where evidence is kept.
func checkEvidence(cfg *config.Config) Check {
	a, demanded := cfg.Audit, evidence.Demanded(cfg.Environment)
	c := Check{Part: "evidence", Where: a.Dir}
	if a.Dir == "" {
		const none = "audit.dir is not set: who reads or changes what is not recorded"
		if demanded {
			return c.is(Warning, none, "set audit.dir to a directory on a disk that is kept for ten years")
		}
		return c.is(OK, none, "")
	}
	o, err := evidence.AuditOptions(cfg)
	if err == nil && a.KeyFile != "" {
		_, err = audit.LoadKey(a.KeyFile)
	}
	if err != nil {
		return c.is(Failed, err.Error(), "")
	}
	if err := makeable(filepath.Join(a.Dir, o.Replica)); err != nil {
		return c.is(Failed, "no evidence can be written here: "+files.Bare(err), "give the gateway's user a directory that "+
			"it can make and write, or change audit.dir: the gateway does not start without it")
	}
	kept := fmt.Sprintf("kept for %d years after the year, as replica %s", a.KeepYears, o.Replica)
	switch {
	case a.KeepYears < 10:
		return c.is(Warning, kept, "the federation asks for ten years: set audit.keepYears")
	case a.Checkpoints == "" && demanded:
		return c.is(Warning, kept, "set audit.checkpoints to have signed records leave this machine: without them nobody "+
			"can tell that the end was cut off together with its signatures")
	}
	return c.is(OK, kept, "")
}
