package gateway

import (
	"bytes"
	"fmt"
	"reflect"
	"sync/atomic"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/files"
	"ebox-gateway/internal/server"
	"ebox-gateway/internal/telemetry"
)

// tracing is how a generation tells a collector of its requests, and what that was
// made of.
type tracing struct {
	tracer      *telemetry.Tracer // nil for not at all
	headers     []byte            // content of tracing.headersFile
	authorities []byte            // content of tracing.caFile
	// templates are the paths of the routes, by name.
	templates map[string]string
}

// tracerInForce is that of the generation in force, for the stacks of upstreams, which
// outlive it.
type tracerInForce = atomic.Pointer[telemetry.Tracer]

// newTracing makes a tracer, or takes that of the generation before.
func (g *generation) newTracing(old *generation) error {
	c := g.cfg.Tracing
	if c.Endpoint == nil {
		return nil
	}
	t := &g.tracing
	t.templates = map[string]string{server.InboxRoute: "/ebox/*"}
	for _, r := range g.cfg.Routes {
		t.templates[r.Name] = r.Path
	}
	for _, file := range []struct {
		key, name string
		content   *[]byte
	}{{"tracing.headersFile", c.HeadersFile, &t.headers}, {"tracing.caFile", c.CAFile, &t.authorities}} {
		if file.name == "" {
			continue
		}
		var err error
		if *file.content, err = files.Text(file.name, files.Most); err != nil {
			return fmt.Errorf("reading %s: %w", file.key, err)
		}
	}
	if old != nil && g.cfg.Environment == old.cfg.Environment && reflect.DeepEqual(c, old.cfg.Tracing) &&
		bytes.Equal(t.headers, old.tracing.headers) && bytes.Equal(t.authorities, old.tracing.authorities) {
		t.tracer = old.tracing.tracer
		return nil
	}
	headers, err := telemetry.ParseHeaders(t.headers)
	if err != nil {
		return fmt.Errorf("reading tracing.headersFile %s: %w", c.HeadersFile, err)
	}
	t.tracer, err = telemetry.NewTracer(telemetry.TracerOptions{
		Endpoint: c.Endpoint, Headers: headers, Authorities: t.authorities, SampleRatio: c.SampleRatio,
		ServiceName: c.ServiceName, Version: g.version, Environment: string(g.cfg.Environment), Instance: g.pool.instance,
		Log: g.log,
	})
	return err
}

// useTracer makes the generation's tracer the one that all stacks tell of their tries.
func (g *generation) useTracer() { g.pool.tracer.Store(g.tracing.tracer) }

// trace tells of a finished request.
func (g *Gateway) trace(r *call.Record) { g.current.Load().tracing.done(r) }

func (t *tracing) done(r *call.Record) {
	if t.tracer != nil {
		t.tracer.Done(r, t.templates[r.Route])
	}
}

// tell tells of what was asked in the background: the access log and the collector of
// traces, which would not know otherwise where its tries belong.
func (g *Gateway) tell(r *call.Record) {
	g.o.Done(r)
	g.trace(r)
}
