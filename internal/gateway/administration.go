package gateway

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"

	"ebox-gateway/internal/admin"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/directory"
	"ebox-gateway/internal/files"
	"ebox-gateway/internal/operate/status"
)

// administration is what the admin listener serves, behind the same rules for Host
// and Origin as the internal endpoint.
func (g *Gateway) administration() http.Handler {
	o := admin.Options{
		Ready:    func() string { return status.NotReady(g.View()) },
		Started:  g.startedUp,
		Unable:   func() string { return status.Unable(g.View()) },
		Health:   func() admin.Health { return status.Health(g.View()) },
		Status:   func() any { return status.Of(g.View()) },
		Activity: func() any { return g.activity.Snapshot() },
		Refused:  func() any { return g.activity.Refused(0) },
		Confirm:  g.Confirm, Retry: func() { g.current.Load().tokens.Retry() }, Purge: g.Purge,
		Maintain: g.switches.Switch, Maintenance: g.switches.List,
		Metrics: g.metrics, Token: g.adminToken, Now: g.o.Now,
	}
	if g.o.Level != nil {
		o.SetLevel = g.setLevel
	}
	handler := g.evidence.Administered(admin.New(o))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// What came is what is answered: whether a browser sent it matters there too.
		asItCame := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { handler.ServeHTTP(w, r) })
		g.current.Load().endpoint.Guard(asItCame).ServeHTTP(w, admin.Visit(r))
	})
}

// adminToken reads the token of the admin listener, which may change at any time.
func (g *Gateway) adminToken() (string, error) {
	file := g.current.Load().cfg.Admin.TokenFile
	if file == "" {
		return "", nil
	}
	token, err := files.Text(file, files.Most)
	if err != nil {
		return "", fmt.Errorf("reading admin.tokenFile: %w", err)
	}
	return strings.TrimSpace(string(token)), nil
}

// sharedSwitches is where replicas share their switches; nil without Redis. It lies
// there as a list of a registry would, which replicas keep for each other already.
func (g *Gateway) sharedSwitches() directory.Shared {
	if r := g.redis.Load(); r != nil {
		return r.List("maintenance")
	}
	return nil
}

// setLevel sets the level of the logs, which say so whatever it is and will be.
func (g *Gateway) setLevel(level slog.Level) {
	g.o.Level.Set(min(g.o.Level.Level(), slog.LevelWarn))
	g.o.Log.Warn("the level of the logs was set", "level", level.String())
	g.o.Level.Set(level)
}

// takeLevel makes the level of the logs that of a configuration, if it is another than
// the one before had: a level that somebody set meanwhile outlives other changes.
func (g *Gateway) takeLevel(old, next *config.Config) {
	if g.o.Level == nil || old.Log.Level == next.Log.Level {
		return
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(next.Log.Level)); err == nil { // it was checked with the configuration
		g.o.Level.Set(level)
	}
}
