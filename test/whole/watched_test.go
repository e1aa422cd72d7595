package whole_test

import (
	"fmt"
	"io"
	"strings"
	"testing"
)

// What the alerts on refused enterprises and on the listeners' certificates read.
func TestRefusedEnterprisesAndListenersCertificatesAreMetrics(t *testing.T) {
	t.Parallel()
	cert, key := certificate(t, "localhost")
	h := open(t, edit(`server: {listen: "127.0.0.1:0"`, fmt.Sprintf(
		`server: {listen: [{name: plain, address: "127.0.0.1:0", open: true}, {name: secure, address: "127.0.0.1:0", open: true, tls: {certFile: %q, keyFile: %q}}]`, cert, key)))
	h.get("/enterprises/0474028805"+nsso+"/ebox").want(t, 403)
	h.get(box+"/messages").want(t, 200)
	resp, err := h.http.Get(h.adm + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"\nebox_gateway_enterprises_refused{provider=\"nsso\"} 1\n",
		"\nebox_gateway_enterprises_refused{provider=\"regional\"} 0\n",
		"\nebox_gateway_listener_certificate_expiry_timestamp_seconds{listener=\"secure\"} ",
		"\ngo_gc_gomemlimit_bytes ",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("/metrics lacks %q", want)
		}
	}
}
