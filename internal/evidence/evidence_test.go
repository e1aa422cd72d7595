package evidence_test

import (
	"context"
	"io/fs"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"ebox-gateway/internal/audit"
	"ebox-gateway/internal/call"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/evidence"
	"ebox-gateway/internal/operate"
	"ebox-gateway/internal/operate/status"
	"ebox-gateway/internal/tenancy"
	"ebox-gateway/internal/testkit"
)

// fullDisk takes nothing while it is full.
type fullDisk struct {
	*os.File
	full *atomic.Bool
}

func (d fullDisk) Write(b []byte) (int, error) {
	if d.full.Load() {
		return 0, syscall.ENOSPC
	}
	return d.File.Write(b)
}

// While as many records wait as may, what would leave another one is refused, and what
// leaves none is served.
func TestAFullQueueOfEvidenceRefusesWhatWouldBeRecorded(t *testing.T) {
	var full atomic.Bool
	var e evidence.Keeper
	cfg := &config.Config{
		Audit: config.Audit{Dir: t.TempDir(), Replica: "r1", StopAfter: config.StopAfter(time.Hour)},
	}
	testkit.Must(t, e.Open(cfg, audit.Options{
		Log: slog.New(slog.DiscardHandler),
		OpenFile: func(name string, flag int, perm fs.FileMode) (audit.File, error) {
			f, err := os.OpenFile(name, flag, perm)
			return fullDisk{f, &full}, err
		},
	}))
	t.Cleanup(func() { _ = e.Close() })
	testkit.Eventually(t, "the start to be on disk", func() bool { return e.Status().Waiting == 0 })
	admit := e.Admission(map[string]bool{"registry": true}, func(context.Context, *call.Call, tenancy.Tenant) error {
		return nil
	})
	read := call.Call{Route: "ebox-providers", Method: http.MethodGet, Path: "/ebox/messages", Action: ebox.List}
	change, registry, health, reference := read, read, read, read
	change.Method, change.Action = http.MethodPatch, ebox.Change
	registry.Route, health.Action, reference.Path = "registry", ebox.None, "/ebox/referenceData/messageTypes"
	check := func(name string, c call.Call, served bool) {
		t.Helper()
		if err := admit(t.Context(), &c, tenancy.Tenant{}); (err == nil) != served {
			t.Errorf("%s: %v", name, err)
		}
	}
	full.Store(true)
	for range 10_000 {
		check("too soon", read, true)
		e.Event(audit.KindKey, netip.Addr{})
	}
	check("a read, whose record may be lost", read, false)
	check("a change", change, false)
	check("the registry", registry, true)
	check("a health check", health, true)
	check("the reference data", reference, true)
	if s := e.Status(); !s.Refusing || status.Unable(&operate.View{Evidence: e.Status(), Now: time.Now}) == "" {
		t.Errorf("nobody is told: %+v", s)
	}
	full.Store(false)
	testkit.Eventually(t, "all to be on disk", func() bool { return e.Status().Waiting == 0 })
	check("all is on disk", read, true)
}
