package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"ebox-gateway/internal/audit"
	"ebox-gateway/internal/call"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/logfile"
	"ebox-gateway/internal/problem"
	"ebox-gateway/internal/telemetry"
	"ebox-gateway/internal/tenancy"
)

// evidence is who read or changed what, for whom, and beside it the log of refusals.
// Both outlive configurations. Its zero value keeps nothing: a gateway that was built
// and not started opens no file.
type evidence struct {
	log      atomic.Pointer[audit.Log]
	ship     *logfile.File // nil if checkpoints go to a stream or nowhere
	refusals audit.Refusals
}

// AuditOptions says what a chain of evidence of a configuration is made of.
func AuditOptions(cfg *config.Config) (audit.Options, error) {
	a := cfg.Audit
	o := audit.Options{
		Dir: a.Dir, Replica: a.Replica, KeyFile: a.KeyFile, SegmentSize: int64(a.SegmentSize),
		CheckpointEvery: a.CheckpointEvery, StampURL: a.TimestampURL, StampEvery: a.TimestampEvery,
		KeepYears: a.KeepYears, StopAfter: stopAfter(a), Mask: telemetry.Mask,
		Queue: EvidenceQueue(cfg),
	}
	if o.Replica == "" {
		var err error
		if o.Replica, err = os.Hostname(); err != nil {
			return o, fmt.Errorf("naming this replica's evidence: %w; set audit.replica", err)
		}
	}
	return o, nil
}

// EvidenceQueue is how many records may wait in memory. From half of it on no request
// begins: the other half has room for an intent and an outcome of all that may be under way.
func EvidenceQueue(cfg *config.Config) int { return max(20_000, 4*cfg.Server.Limits.MaxRequests) }

func stopAfter(a config.Audit) time.Duration {
	if a.StopAfter == config.StopNever {
		return audit.Never
	}
	return time.Duration(a.StopAfter)
}

// openEvidence begins to keep evidence, before the first request is served.
func (g *Gateway) openEvidence() error {
	cfg := g.current.Load().cfg
	e := &g.pool.evidence
	if cfg.Audit.Dir == "" {
		if err := e.useRefusals(cfg.Log.Security); err != nil {
			return err
		}
		if DemandsEvidence(cfg.Environment) {
			g.o.Log.Warn("no evidence is kept of who read or changed what: set audit.dir")
		}
		return nil
	}
	o, err := AuditOptions(cfg)
	if err != nil {
		return err
	}
	o.Version, o.OpenFile, o.Now, o.Log = g.o.Version, g.o.OpenFile, g.o.Now, g.o.Log
	switch to := cfg.Audit.Checkpoints; to {
	case "":
	case "stdout":
		o.Ship = os.Stdout
	case "stderr":
		o.Ship = os.Stderr
	default:
		if e.ship, err = logfile.Open(to, 0, 0); err != nil {
			return fmt.Errorf("opening audit.checkpoints: %w", err)
		}
		o.Ship, o.Shipped = e.ship, to
	}
	log, err := audit.Open(o)
	if err != nil {
		return errors.Join(err, e.ship.Close())
	}
	e.log.Store(log)
	if err := e.useRefusals(cfg.Log.Security); err != nil {
		return err
	}
	e.event(audit.KindConfiguration, netip.Addr{}, "result", "started", "newHash", cfg.Hash())
	g.o.Log.Info("evidence is kept", "directory", log.Dir(), "key", audit.Fingerprint(log.Key().Public()))
	return nil
}

// DemandsEvidence tells the environments in which there are real messages.
func DemandsEvidence(e config.Environment) bool {
	return e == config.Production || e == config.Acceptance
}

// closeEvidence signs the end. Requests that were cut a moment ago are waited for.
func (g *Gateway) closeEvidence() error {
	const patience = 2 * time.Second
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	e := &g.pool.evidence
	log := e.log.Load()
	if log == nil {
		return e.refusals.Close()
	}
	if g.drained(ctx) != nil {
		g.o.Log.Error("requests are still under way at the end: the evidence has no word of how they end",
			"requests", g.underway())
	}
	return errors.Join(e.refusals.Close(), log.Close(), e.ship.Close())
}

// reopen opens the logs of the evidence anew, after they were moved away.
func (e *evidence) reopen() error { return errors.Join(e.refusals.Reopen(), e.ship.Reopen()) }

// replaceEvidence takes over what of a new configuration can change while the gateway
// runs.
func (g *Gateway) replaceEvidence(old, next *config.Config) {
	e := &g.pool.evidence
	if log := e.log.Load(); log != nil {
		log.SetStopAfter(stopAfter(next.Audit))
	}
	if old.Log.Security != next.Log.Security {
		if err := e.useRefusals(next.Log.Security); err != nil {
			g.o.Log.Error("the log of refusals stays where it was", "cause", err.Error())
		}
	}
	e.event(audit.KindConfiguration, netip.Addr{}, "result", "taken", "oldHash", old.Hash(), "newHash", next.Hash(),
		"changed", strings.Join(config.Changed(old, next), " "))
}

// fixedEvidence refuses a configuration whose evidence would begin elsewhere: a chain
// belongs to a process.
func fixedEvidence(old, next *config.Config) error {
	a, b := old.Audit, next.Audit
	a.StopAfter, b.StopAfter = 0, 0
	if a != b {
		return errors.New("audit cannot change while the gateway runs, but for stopAfter: restart it")
	}
	return nil
}

// rejectedEvidence records that a configuration was not taken.
func (g *Gateway) rejectedEvidence(r *rejection) {
	g.pool.evidence.event(audit.KindConfiguration, netip.Addr{}, "result", "rejected", "oldHash",
		g.current.Load().cfg.Hash(), "newHash", r.hash,
		"errors", strconv.Itoa(len(r.errors)), "firstError", r.errors[0])
}

func (e *evidence) useRefusals(to string) error {
	streams := map[string]io.Writer{"stdout": telemetry.Locked(os.Stdout), "stderr": telemetry.Locked(os.Stderr)}
	if err := e.refusals.Use(to, streams, e.log.Load(), telemetry.Mask); err != nil {
		return fmt.Errorf("opening log.security: %w", err)
	}
	return nil
}

// event records something that is no call. The fields are names and values in turn.
func (e *evidence) event(kind audit.Kind, source netip.Addr, fields ...string) {
	log := e.log.Load()
	if log == nil {
		return
	}
	event := audit.Event{Kind: kind, Fields: make(map[string]string)}
	if source.IsValid() {
		event.Fields["source"] = source.String()
	}
	for i := 0; i+1 < len(fields); i += 2 {
		if fields[i+1] != "" {
			event.Fields[fields[i]] = fields[i+1]
		}
	}
	log.Event(event)
}

// record keeps a finished request, if it is evidence. What the Provider Registry says
// is about nobody.
func (g *Gateway) record(r *call.Record) {
	e := &g.pool.evidence
	e.refusals.Done(r)
	if log := e.log.Load(); log != nil && (r.Intent || !g.current.Load().impersonal[r.Route]) {
		log.Done(r)
	}
}

// impersonalRoutes are those whose answers are about nobody.
func impersonalRoutes(routes []config.Route) map[string]bool {
	names := make(map[string]bool)
	for _, r := range routes {
		if r.Kind == config.KindRegistry {
			names[r.Name] = true
		}
	}
	return names
}

// Intent implements audit.Intents for the stacks of upstreams, which are made before
// there is a log.
func (e *evidence) Intent(ctx context.Context, r *call.Record) error {
	log := e.log.Load()
	if log == nil {
		return nil
	}
	return log.Intent(ctx, r)
}

// Kept implements audit.Intents.
func (e *evidence) Kept() bool { return e.log.Load() != nil }

// admitter lets a call in, or gives the problem that it is refused with.
type admitter = func(context.Context, *call.Call, tenancy.Tenant) error

// admission lets nobody in while evidence has been failing for longer than it may, and
// nobody who would leave a record while too many wait. impersonal are the routes that
// leave none.
func (e *evidence) admission(impersonal map[string]bool, next admitter) admitter {
	const again = 10 * time.Second
	return func(ctx context.Context, c *call.Call, tenant tenancy.Tenant) error {
		log := e.log.Load()
		if log == nil {
			return next(ctx, c, tenant)
		}
		if log.Refused() {
			return problem.Unavailable("The gateway cannot write its evidence, and serves nobody without it. Nothing was "+
				"sent. The platform team finds the reason in its status; try again later.", again).
				Proxy(problem.ProxyInternalError)
		}
		if log.Full() && !impersonal[c.Route] && audit.MayRecord(c.Method, c.Action, c.Path) {
			return problem.Unavailable("The gateway holds as many records of its evidence as it may that are not on disk yet, "+
				"and begins nothing of which it could lose the record. Nothing was sent. The platform team finds the reason in "+
				"its status; try again later.", again).
				Proxy(problem.ProxyInternalError)
		}
		return next(ctx, c, tenant)
	}
}

// status is nil if no evidence is kept.
func (e *evidence) status() *audit.Status {
	log := e.log.Load()
	if log == nil {
		return nil
	}
	s := log.Status()
	return &s
}

// administered records what is changed by the admin listener: purges, switches, levels.
func (e *evidence) administered(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodOptions {
			next.ServeHTTP(w, r)
			return
		}
		noted := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(noted, r)
		if noted.status >= http.StatusBadRequest {
			return // nothing changed
		}
		const most = 1024
		from, _ := netip.ParseAddrPort(r.RemoteAddr) // invalid is left out
		query := telemetry.Mask(r.URL.RawQuery)
		e.event(audit.KindAdministration, from.Addr().Unmap(), "method", r.Method, "url",
			strings.TrimSuffix(r.URL.Path+"?"+query[:min(len(query), most)], "?"),
			"requestId", w.Header().Get("X-Request-Id"), "result", strconv.Itoa(noted.status))
	})
}

// statusWriter notes the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// followKeys records when an OAuth client signs with another key.
func (g *Gateway) followKeys(ctx context.Context) {
	const every = 10 * time.Second
	if g.pool.evidence.log.Load() == nil {
		return
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	known := make(map[string]string)
	for {
		for _, c := range g.current.Load().tokens.Status() {
			if c.Key == nil || known[c.Name] == c.Key.Fingerprint {
				continue
			}
			g.pool.evidence.event(audit.KindKey, netip.Addr{}, "client", c.Name, "clientId", c.ID, "oldKey", known[c.Name],
				"newKey", c.Key.Fingerprint, "subject", c.Key.Subject)
			known[c.Name] = c.Key.Fingerprint
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
