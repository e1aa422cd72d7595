package preflight_test

import (
	"encoding/json"
	"encoding/pem"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/demo"
	"ebox-gateway/internal/gateway"
	"ebox-gateway/internal/operate/preflight"
	"ebox-gateway/internal/simulator"
)

// row is what a check is expected to say; what is empty is not looked at.
type row struct{ what, result, detail, advice string }

// expectRow finds the row of a name in the table.
func expectRow(t *testing.T, checks []preflight.Check, want row) {
	t.Helper()
	for _, c := range checks {
		if c.Part != want.what || want.result != "" && c.Result.String() != want.result {
			continue
		}
		if strings.Contains(c.Detail, want.detail) && strings.Contains(c.Advice, want.advice) {
			return
		}
	}
	t.Errorf("no row %+v in", want)
	for _, c := range checks {
		t.Logf("%-8s %-40s %-30s %s → %s", c.Result, c.Part, c.Where, c.Detail, c.Advice)
	}
}

// checkOnline makes a gateway before sim and checks everything. Nothing is started.
func checkOnline(t *testing.T, sim *simulator.Simulator, dir string,
	edits ...func(*testing.T, string) string) []preflight.Check {
	t.Helper()
	text := demo.Config(sim, "127.0.0.1:0", "127.0.0.1:0")
	for _, e := range edits {
		text = e(t, text)
	}
	cfg, err := config.Parse("test.yaml", []byte(text), dir, func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	g, err := gateway.New(cfg, gateway.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return append(preflight.Offline(cfg, time.Now(), nobodyRuns), preflight.Online(t.Context(), g.View())...)
}

func startSimulator(t *testing.T, o simulator.Options) *simulator.Simulator {
	t.Helper()
	o.Listen, o.ListenRegional = "127.0.0.1:0", "127.0.0.1:0"
	if o.Clients == nil {
		o.Clients = []simulator.Client{client}
	}
	sim, err := simulator.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	})
	return sim
}

// register gives the client these scopes and no others.
func register(t *testing.T, sim *simulator.Simulator, scopes ...string) {
	t.Helper()
	few := client
	few.Scopes = scopes
	if err := sim.RegisterClient(few); err != nil {
		t.Fatal(err)
	}
}

// route adds a route of its own to the configuration.
func route(upstream string) func(*testing.T, string) string {
	return add("  - {name: other, kind: plain, path: /other, upstream: " + upstream + ", scopes: [], enterprise: none, " +
		"allowPrivateNetworks: true, allowHttp: true}\n")
}

func TestCheckOnlineNamesTheReasonOfEachFailure(t *testing.T) {
	selfSigned := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(selfSigned.Close)
	selfSigned.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusProxyAuthRequired)
	}))
	t.Cleanup(refusing.Close)
	_, tlsPort, _ := net.SplitHostPort(selfSigned.Listener.Addr().String())

	for name, c := range map[string]struct {
		simulator func(*simulator.Simulator)
		edits     []func(*testing.T, string) string
		want      []row
	}{
		"nothing is wrong": {want: []row{
			{"key of client demo", "ok", "RS256", ""}, {"TCP", "ok", "127.0.0.1:", ""}, {
				"token endpoint", "ok", "it answers", ""},
			{"clock", "ok", "the same", ""}, {"token demo for documentconsumer", "ok", "valid until", ""},
			{"registry's list", "ok", "5 Document Providers", ""}, {"provider nsso", "ok", "it answers", ""},
			{"provider utilities", "skipped", "maintenance", ""}, {"provider retired", "skipped", "deactivated", ""},
		}},
		"a name that does not exist": {
			// Go asks no name server for .onion (RFC 7686).
			edits: []func(*testing.T, string) string{route("https://nowhere.onion/x")},
			want: []row{
				{"DNS", "failed", "no address", "how it is spelled"}, {"TCP", "skipped", "no address", ""},
				{"TLS", "skipped", "no connection", ""}, {"route other", "failed", "not reached", ""},
			},
		},
		"a port where nobody listens": {
			edits: []func(*testing.T, string) string{route("http://" + nobody + "/x")},
			want: []row{{"TCP", "failed", "connection refused", "nothing listens on the port"}, {
				"route other", "failed", "not reached", ""}},
		},
		"an authority that is not trusted": {
			edits: []func(*testing.T, string) string{route(selfSigned.URL + "/x")},
			want: []row{{"TCP", "ok", "", ""}, {"TLS", "failed", "issued by O=Acme Co", "add egress.caFile"}, {
				"route other", "failed", "", ""}},
		},
		"a certificate of another host": {
			edits: []func(*testing.T, string) string{route("https://localhost:" + tlsPort + "/x"),
				add("egress: {caFile: ca.pem}\n")},
			want: []row{{"TLS", "failed", "the certificate is for example.com", "look at the host in the URL"}},
		},
		"no TLS where it was expected": {
			edits: []func(*testing.T, string) string{route(strings.Replace(plain.URL, "http:", "https:", 1) + "/x")},
			want:  []row{{"TLS", "failed", "does not speak TLS", "http://"}},
		},
		"a client id that nobody registered": {
			edits: []func(*testing.T, string) string{edit("clientId: demo-office", "clientId: somebody")},
			want: []row{{"token demo for documentconsumer", "failed", "invalid_client", "Look in Chaman"}, {
				"registry's list", "failed", "invalid_client", ""}},
		},
		"a scope that the client does not have": {
			simulator: func(s *simulator.Simulator) { register(t, s, simulator.ScopeRegistry) },
			want: []row{{"token demo for registry", "ok", "", ""}, {
				"token demo for -managemandate", "failed", "invalid_scope", "terms of use were accepted"}},
		},
		"the scope for publishing is the other spelling": {
			simulator: func(s *simulator.Simulator) { register(t, s, simulator.ScopeRepresentativeElsewhere) },
			want: []row{{"publication scope of demo", "failed", "granted is " + simulator.ScopeRepresentativeElsewhere +
				", and routes ask for " + simulator.ScopeRepresentativePublication, "write the one that is granted"}},
		},
		"the scope for publishing is the usual spelling": {
			simulator: func(s *simulator.Simulator) { register(t, s, simulator.ScopeRepresentativePublication) },
			want: []row{{"publication scope of demo", "ok", "granted is " + simulator.ScopeRepresentativePublication +
				"; refused is " + simulator.ScopeRepresentativeElsewhere, ""}},
		},
		"the scope for publishing is in no spelling": {
			simulator: func(s *simulator.Simulator) { register(t, s, simulator.ScopeDocumentConsumer) },
			want: []row{{"publication scope of demo", "failed", "neither spelling is granted", "activated for the client"},
				{"default scopes of demo", "ok", "without a scope, it grants " + simulator.ScopeDocumentConsumer +
					"; routes ask besides for ", ""}},
		},
		"a registry that fails": {
			simulator: func(s *simulator.Simulator) {
				if _, err := s.Fault(simulator.Fault{Upstream: simulator.UpstreamRegistry, Kind: simulator.FaultStatus, Status: 500,
					Path: "/messageRegistries"}); err != nil {
					t.Fatal(err)
				}
			},
			want: []row{{"registry's list", "failed", "500", ""}, {"registry", "warning", "with 500", "in trouble"}},
		},
		"a provider whose host is not allowed": {
			simulator: func(s *simulator.Simulator) {
				if err := s.SetProvider(simulator.Provider{ID: "elsewhere", URL: "https://ebox.elsewhere.example/v3",
					APIVersion: "3.0", Activation: "2020-01-01"}); err != nil {
					t.Fatal(err)
				}
			},
			want: []row{{"provider elsewhere", "failed", `, "ebox.elsewhere.example"]`, ""}, {
				"registry's list", "ok", "6 Document", ""}},
		},
		"a token endpoint that is away": {
			edits: []func(*testing.T, string) string{func(t *testing.T, text string) string {
				i := strings.Index(text, "tokenUrl: ")
				end := i + strings.Index(text[i:], "\n")
				return text[:i] + "tokenUrl: http://" + nobody + "/token" + text[end:]
			}},
			want: []row{{"token endpoint", "failed", "not reached", ""}, {
				"token demo for documentconsumer", "skipped", "see above", ""}},
		},
		"an egress proxy that is away": {
			edits: []func(*testing.T, string) string{route("https://ebox.example/x"),
				add("egress: {proxy: \"http://" + nobody + "\"}\n")},
			want: []row{{"egress proxy", "failed", "connection refused", "look at host and port in egress.proxy"},
				{"DNS", "skipped", "left to the egress proxy", ""}, {"route other", "failed", "does not let us through", ""}},
		},
		"an egress proxy that wants a password": {
			edits: []func(*testing.T, string) string{route("https://ebox.example/x"),
				add("egress: {proxy: \"" + refusing.URL + "\"}\n")},
			want: []row{{"egress proxy", "failed", "look at the user and password in egress.proxy", ""}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			sim := startSimulator(t, simulator.Options{})
			if c.simulator != nil {
				c.simulator(sim)
			}
			dir := t.TempDir()
			key, err := os.ReadFile(filepath.Join(clientDir, "client.p12"))
			if err != nil {
				t.Fatal(err)
			}
			write(t, dir, map[string][]byte{"client.p12": key, "ca.pem": pem.EncodeToMemory(&pem.Block{
				Type: "CERTIFICATE", Bytes: selfSigned.Certificate().Raw})})
			checks := checkOnline(t, sim, dir, c.edits...)
			for _, want := range c.want {
				expectRow(t, checks, want)
			}
		})
	}
}

// The server's clock is two minutes ahead: assertions arrive expired.
func TestCheckOnlineTellsAWrongClockFromAWrongKey(t *testing.T) {
	sim := startSimulator(t, simulator.Options{Now: func() time.Time { return time.Now().Add(2 * time.Minute) }})
	checks := checkOnline(t, sim, clientDir)
	expectRow(t, checks, row{"clock", "failed", "this machine is 2m0s behind the server's clock", "chronyd"})
	expectRow(t, checks, row{"token demo for documentconsumer", "failed", "set the clock", ""})
}

func TestCheckSaysWhatIsWrongWithAKey(t *testing.T) {
	now := time.Now()
	old, present := identity(t, "Office", now.AddDate(0, 0, -10)), identity(t, "Office", now.AddDate(1, 0, 0))
	p12 := func(id *simulator.Identity) []byte {
		file, err := id.PKCS12("right")
		if err != nil {
			t.Fatal(err)
		}
		return file
	}
	dir := t.TempDir()
	write(t, dir, map[string][]byte{
		"present.p12": p12(present), "old.p12": p12(old), "key.pem": keyPEM(t, present), "old.pem": certificatePEM(old),
		"ending.p12": p12(identity(t, "Office", now.AddDate(0, 0, 21))),
	})
	for name, c := range map[string]struct {
		client string
		want   row
	}{
		"the password is wrong": {
			"keystore: {file: present.p12, password: wrong}", row{"", "failed", "password", ""}},
		"the file is not there": {
			"keystore: {file: nowhere.p12, password: right}", row{"", "failed", "nowhere.p12", ""}},
		"the certificate has expired": {
			"keystore: {file: old.p12, password: right}", row{"", "failed", "it has expired", "register it in Chaman"}},
		"the certificate is of another key": {
			"key: {file: key.pem}, certificate: {file: old.pem}", row{"", "failed", "no certificate in", ""}},
		"the certificate ends in three weeks": {
			"keystore: {file: ending.p12, password: right}", row{"", "warning", "valid until", "request a new certificate now"}},
		"all is well": {"keystore: {file: present.p12, password: right}", row{"", "ok", "valid until", ""}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg, err := config.Parse("test.yaml", []byte("environment: simulation\noauth: {clients: {office: {clientId: a, "+
				c.client+"}}}\n"), dir, os.LookupEnv)
			if err != nil {
				t.Fatal(err)
			}
			c.want.what = "key of client office"
			checks := preflight.Offline(cfg, now, nobodyRuns)
			expectRow(t, checks, c.want)
			text, err := json.Marshal(checks)
			if err != nil || strings.Contains(string(text), "right") {
				t.Errorf("as JSON it shows the password, or fails: %v %s", err, text)
			}
		})
	}
}

func TestCheckLooksWhereTheGatewayWrites(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	sim := startSimulator(t, simulator.Options{})
	for name, c := range map[string]struct {
		lines string
		want  row
	}{
		"the security log has no folder": {
			"log: {security: nowhere/refusals.jsonl}", row{"security log", "failed", "there is no folder", "log.security"}},
		"the security log has one": {"log: {security: refusals.jsonl}", row{"security log", "ok", "", ""}},
		"the checkpoints have no folder": {
			"audit: {dir: evidence, checkpoints: nowhere/shipped.jsonl}", row{"checkpoints", "failed", "there is no folder",
				"audit.checkpoints"}},
		"the security log is a folder": {
			"log: {security: " + t.TempDir() + "}", row{"security log", "failed", "is a folder", "log.security"}},
		"the evidence cannot be made": {
			"audit: {dir: /proc/evidence}", row{"evidence", "failed", "nothing can be made in /proc", "audit.dir"}},
		"the evidence lies in a file": {
			"audit: {dir: client.p12/evidence}", row{"evidence", "failed", "is no folder", "audit.dir"}},
		"the evidence is made later": {"audit: {dir: a/b/evidence}", row{"evidence", "ok", "kept for 10 years", ""}},
		"nobody listens for traces": {
			"tracing: {endpoint: \"http://" + nobody + "\"}", row{"trace collector", "warning", "traces would be given up",
				"tracing.endpoint"}},
		"somebody listens for traces": {
			"tracing: {endpoint: \"http://" + l.Addr().String() + "\"}", row{"trace collector", "ok", "takes connections", ""}},
	} {
		t.Run(name, func(t *testing.T) {
			without := func(_ *testing.T, text string) string { return strings.Replace(text, "log: {format: text}\n", "", 1) }
			expectRow(t, checkOnline(t, sim, clientDir, without, add(c.lines+"\n")), c.want)
		})
	}
}
