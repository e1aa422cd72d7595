package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ebox-gateway/internal/operate/status"
	"ebox-gateway/internal/testkit"
)

// asking is a process whose output is kept.
func asking(ctx context.Context) (p *process, out *bytes.Buffer) {
	out = new(bytes.Buffer)
	return &process{
		ctx: ctx, stdout: out, stderr: out, patience: time.Minute,
		lookup: func(string) (string, bool) { return "", false },
	}, out
}

// answering is an admin listener that answers everything alike.
func answering(t *testing.T, answer any, asked func(*http.Request)) string {
	t.Helper()
	text, err := json.Marshal(answer)
	testkit.Must(t, err)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked(r)
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(text)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func TestAPurgeGoesOnBehindAGatewayThatFails(t *testing.T) {
	var purged atomic.Int64
	refusing := httptest.NewServer(http.NotFoundHandler())
	defer refusing.Close()
	second := answering(t, map[string]string{"status": "UP"}, func(r *http.Request) {
		if r.Method == http.MethodPost && r.URL.Path == "/cache/purge" {
			purged.Add(1)
		}
	})
	p, out := asking(t.Context())
	code := run(p, []string{"cache", "purge", "--all", "--admin", refusing.URL + "," + second})
	if code != 1 || purged.Load() != 1 || !strings.Contains(out.String(), "dropped") ||
		!strings.Contains(out.String(), refusing.URL) {
		t.Errorf("exit code %d, %d purges: %s", code, purged.Load(), out)
	}
}

func TestWatchShowsEveryGateway(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	now := status.Status{StartedAt: time.Now(), Ready: true}
	first := answering(t, now, func(*http.Request) {})
	var rounds atomic.Int64
	second := answering(t, now, func(*http.Request) {
		if rounds.Add(1) == 2 {
			stop()
		}
	})
	p, out := asking(ctx)
	if code := run(p, []string{"status", "--watch", "--admin", first + "," + second}); code != 0 {
		t.Errorf("exit code %d: %s", code, out)
	}
	screens := strings.Split(out.String(), "\x1b[2J")
	if len(screens) < 3 || !strings.Contains(screens[1], first) || !strings.Contains(screens[1], second) {
		t.Errorf("%q", screens)
	}
}
