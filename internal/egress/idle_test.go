package egress

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/problem"
)

func TestStandingStillOverSockets(t *testing.T) {
	ca := newAuthority(t)
	dns := &names{addresses: map[string][]netip.Addr{"up.example.": {loopback}}}
	for name, c := range map[string]struct{ tls bool }{"plain": {}, "over TLS": {tls: true}} {
		t.Run(name, func(t *testing.T) {
			release := make(chan struct{})
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				io.WriteString(w, "some")
				w.(http.Flusher).Flush()
				<-release
			}))
			scheme := "http"
			if server.TLS = ca.config("up.example"); c.tls {
				scheme = "https"
				server.StartTLS()
			} else {
				server.Start()
			}
			defer server.Close()
			defer close(release)
			_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
			tr := transport(t, mustNew(t, Options{Resolver: dns.resolver(t), Roots: ca.pool()}),
				Timeouts{Idle: 400 * time.Millisecond}, toLoopback)
			answer, err := get(t, tr, scheme+"://up.example:"+port+"/")
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(answer.Body)
			answer.Body.Close()
			if string(body) != "some" {
				t.Errorf("read %q", body)
			}
			if got := Classify(err); got != (call.Failure{Kind: problem.ProxyConnectionReadTimeout, Timeout: true, Sent: true}) {
				t.Errorf("%+v: %v", got, err)
			}
		})
	}
}
