package gateway

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"time"

	"ebox-gateway/internal/config"
)

// checkPlaces looks whether the files that the gateway opens at its start can be there:
// without the folder of one it does not start. Nothing is made or written.
func checkPlaces(cfg *config.Config) (checks []Check) {
	for _, place := range []struct{ part, key, file string }{
		{"security log", "log.security", cfg.Log.Security},
		{"checkpoints", "audit.checkpoints", cfg.Audit.Checkpoints},
	} {
		if place.file == "" || place.file == "stdout" || place.file == "stderr" {
			continue
		}
		c := Check{Part: place.part, Where: place.file, OK: true, Detail: "written here"}
		folder := filepath.Dir(place.file)
		if info, err := os.Stat(folder); err != nil {
			c.OK, c.Detail = false, "there is no folder "+folder
		} else if !info.IsDir() {
			c.OK, c.Detail = false, folder+" is no folder"
		}
		if !c.OK {
			c.Advice = "make the folder, writable for the gateway's user, or change " + place.key + ": the gateway does not start without it"
		}
		checks = append(checks, c)
	}
	return checks
}

// collectorPatience is how long the check waits for the collector of traces.
const collectorPatience = 3 * time.Second

// checkCollector looks whether somebody listens where traces are sent. Nothing is sent.
// Traces are given up where nobody does, and no request notices.
func (g *generation) checkCollector(ctx context.Context) (checks []Check) {
	u := g.cfg.Tracing.Endpoint
	if u == nil {
		return nil
	}
	port := u.Port()
	switch {
	case port == "" && u.Scheme == "https":
		port = "443"
	case port == "":
		port = "80"
	}
	c := Check{Part: "trace collector", Where: u.Host, OK: true, Detail: "it takes connections"}
	began := g.now()
	conn, err := (&net.Dialer{Timeout: collectorPatience}).DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	c.Took = g.now().Sub(began)
	if err != nil {
		c.Warning, c.Detail = true, "traces would be given up: "+err.Error()
		c.Advice = "look at tracing.endpoint, and whether the collector runs; requests are served all the same"
	} else {
		_ = conn.Close() // nothing was sent
	}
	return append(checks, c)
}
