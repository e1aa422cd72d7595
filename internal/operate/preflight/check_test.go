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
	"ebox-gateway/internal/operate/preflight"
	"ebox-gateway/internal/simulator"
	"ebox-gateway/internal/testkit"
	"ebox-gateway/internal/testkit/lab"
)

// nobody is an address of this machine where nobody listens, and where no other test
// gets a port of its own.
const nobody = "127.9.8.7:9"

// expect finds a row "part|result|detail|advice" in the table; what is empty is not looked at.
func expect(t *testing.T, checks []preflight.Check, want string) {
	t.Helper()
	of := strings.Split(want+"|||", "|")
	for _, c := range checks {
		if c.Part == of[0] && (of[1] == "" || c.Result.String() == of[1]) && strings.Contains(c.Detail, of[2]) &&
			strings.Contains(c.Advice, of[3]) {
			return
		}
	}
	t.Errorf("no row %s in", want)
	for _, c := range checks {
		t.Logf("%s|%s|%s|%s (%s)", c.Part, c.Result, c.Detail, c.Advice, c.Where)
	}
}

// checkOnline makes a gateway before sim and checks everything. The text of its configuration is
// edited: each old is replaced by the new that follows. Nothing is started.
func checkOnline(t *testing.T, sim *simulator.Simulator, dir string, edits ...string) []preflight.Check {
	t.Helper()
	cfg, g := lab.New(t, lab.Config(t, sim, edits...), dir)
	return append(preflight.Offline(cfg, time.Now(), nobodyRuns), preflight.Online(t.Context(), g.View(), time.Minute)...)
}

// register gives the client these scopes and no others.
func register(t *testing.T, sim *simulator.Simulator, scopes ...string) {
	t.Helper()
	few := lab.Client(t)
	few.Scopes = scopes
	testkit.Must(t, sim.RegisterClient(few))
}

// route is the edit that adds a route of its own to the configuration.
func route(upstream string) []string {
	return []string{"routes:\n", "routes:\n  - {name: other, kind: plain, path: /other, upstream: " + upstream +
		", scopes: [], enterprise: none, allowPrivateNetworks: true, allowHttp: true}\n"}
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
		edits     []string
		want      []string
	}{
		"nothing is wrong": {want: []string{"key of client demo|ok|RS256", "TCP|ok|127.0.0.1:",
			"token endpoint|ok|it answers",
			"clock|ok|the same", "token demo for documentconsumer|ok|valid until", "registry's list|ok|5 Document Providers",
			"provider nsso|ok|it answers", "provider utilities|skipped|maintenance", "provider retired|skipped|deactivated"}},
		"a name that does not exist": { // Go asks no name server for .onion (RFC 7686).
			edits: route("https://nowhere.onion/x"), want: []string{"DNS|failed|no address|how it is spelled",
				"TCP|skipped|no address", "TLS|skipped|no connection", "route other|failed|not reached"}},
		"a port where nobody listens": {edits: route("http://" + nobody + "/x"),
			want: []string{"TCP|failed|connection refused|nothing listens on the port", "route other|failed|not reached"}},
		"an authority that is not trusted": {edits: route(selfSigned.URL + "/x"),
			want: []string{"TCP|ok", "TLS|failed|issued by O=Acme Co|add egress.caFile", "route other|failed"}},
		"a certificate of another host": {edits: append(route("https://localhost:"+tlsPort+"/x"),
			"oauth:\n", "egress: {caFile: ca.pem}\noauth:\n"),
			want: []string{"TLS|failed|the certificate is for example.com|look at the host in the URL"}},
		"no TLS where it was expected": {edits: route(strings.Replace(plain.URL, "http:", "https:", 1) + "/x"),
			want: []string{"TLS|failed|does not speak TLS|http://"}},
		"a client id that nobody registered": {edits: []string{"clientId: demo-office", "clientId: somebody"},
			want: []string{"token demo for documentconsumer|failed|invalid_client|Look in Chaman",
				"registry's list|failed|invalid_client"}},
		"a scope that the client does not have": {
			simulator: func(s *simulator.Simulator) { register(t, s, simulator.ScopeRegistry) },
			want: []string{"token demo for registry|ok",
				"token demo for -managemandate|failed|invalid_scope|terms of use were accepted"}},
		"the scope for publishing is the other spelling": {
			simulator: func(s *simulator.Simulator) { register(t, s, simulator.ScopeRepresentativeElsewhere) },
			want: []string{"publication scope of demo|failed|granted is " + simulator.ScopeRepresentativeElsewhere +
				", and routes ask for " + simulator.ScopeRepresentativePublication + "|write the one that is granted"}},
		"the scope for publishing is the usual spelling": {
			simulator: func(s *simulator.Simulator) { register(t, s, simulator.ScopeRepresentativePublication) },
			want: []string{"publication scope of demo|ok|granted is " + simulator.ScopeRepresentativePublication +
				"; refused is " + simulator.ScopeRepresentativeElsewhere}},
		"the scope for publishing is in no spelling": {
			simulator: func(s *simulator.Simulator) { register(t, s, simulator.ScopeDocumentConsumer) },
			want: []string{"publication scope of demo|failed|neither spelling is granted|activated for the client",
				"default scopes of demo|ok|without a scope, it grants " + simulator.ScopeDocumentConsumer +
					"; routes ask besides for "}},
		"a registry that fails": {
			simulator: func(s *simulator.Simulator) {
				lab.Fault(t, s, simulator.Fault{Upstream: simulator.UpstreamRegistry, Kind: simulator.FaultStatus, Status: 500,
					Path: "/messageRegistries"})
			},
			want: []string{"registry's list|failed|500", "registry|warning|with 500|in trouble"}},
		"a provider whose host is not allowed": {
			simulator: func(s *simulator.Simulator) {
				testkit.Must(t, s.SetProvider(simulator.Provider{ID: "elsewhere", URL: "https://ebox.elsewhere.example/v3",
					APIVersion: "3.0", Activation: "2020-01-01"}))
			},
			want: []string{`provider elsewhere|failed|, "ebox.elsewhere.example"]`, "registry's list|ok|6 Document"}},
		"a token endpoint that is away": {edits: []string{"tokenUrl: ", "tokenUrl: http://" + nobody + "/token #"},
			want: []string{"token endpoint|failed|not reached", "token demo for documentconsumer|skipped|see above"}},
		"an egress proxy that is away": {edits: append(route("https://ebox.example/x"),
			"oauth:\n", "egress: {proxy: \"http://"+nobody+"\"}\noauth:\n"),
			want: []string{"egress proxy|failed|connection refused|look at host and port in egress.proxy",
				"DNS|skipped|left to the egress proxy", "route other|failed|does not let us through"}},
		"an egress proxy that wants a password": {edits: append(route("https://ebox.example/x"),
			"oauth:\n", "egress: {proxy: \""+refusing.URL+"\"}\noauth:\n"),
			want: []string{"egress proxy|failed|look at the user and password in egress.proxy"}},
	} {
		t.Run(name, func(t *testing.T) {
			sim := lab.Simulator(t, simulator.Options{})
			if c.simulator != nil {
				c.simulator(sim)
			}
			dir := lab.Dir(t)
			testkit.Write(t, filepath.Join(dir, "ca.pem"), pem.EncodeToMemory(&pem.Block{
				Type: "CERTIFICATE", Bytes: selfSigned.Certificate().Raw}))
			checks := checkOnline(t, sim, dir, c.edits...)
			for _, want := range c.want {
				expect(t, checks, want)
			}
		})
	}
}

// The server's clock is two minutes ahead: assertions arrive expired.
func TestCheckOnlineTellsAWrongClockFromAWrongKey(t *testing.T) {
	sim := lab.Simulator(t, simulator.Options{Now: func() time.Time { return time.Now().Add(2 * time.Minute) }})
	checks := checkOnline(t, sim, lab.Dir(t))
	expect(t, checks, "clock|failed|this machine is 2m0s behind the server's clock|chronyd")
	expect(t, checks, "token demo for documentconsumer|failed|set the clock")
}

// What else can be wrong with a key, package authn shows.
func TestCheckSaysWhatIsWrongWithAKey(t *testing.T) {
	now, dir := time.Now(), t.TempDir()
	for name, end := range map[string]time.Time{"good": now.AddDate(1, 0, 0), "old": now.AddDate(0, 0, -10),
		"ending": now.AddDate(0, 0, 21)} {
		id, err := simulator.SelfSigned("Office", end.AddDate(-1, 0, 0)) // it ends a year later
		testkit.Must(t, err)
		file, err := id.PKCS12("right")
		testkit.Must(t, err)
		testkit.Write(t, filepath.Join(dir, name+".p12"), file)
	}
	for keystore, want := range map[string]string{
		"file: good.p12, password: wrong":   "failed|password",
		"file: absent.p12, password: right": "failed|absent.p12|put the file there",
		"file: old.p12, password: right":    "failed|it has expired|register it in Chaman",
		"file: ending.p12, password: right": "warning|valid until|request a new certificate now",
		"file: good.p12, password: right":   "ok|valid until",
	} {
		cfg, err := config.Parse("test.yaml", []byte("environment: simulation\noauth: {clients: {office: {clientId: a, "+
			"keystore: {"+keystore+"}}}}\n"), dir, os.LookupEnv)
		testkit.Must(t, err)
		checks := preflight.Offline(cfg, now, nobodyRuns)
		expect(t, checks, "key of client office|"+want)
		if text, err := json.Marshal(checks); err != nil || strings.Contains(string(text), "right") {
			t.Errorf("as JSON it shows the password, or fails: %v %s", err, text)
		}
	}
}

func TestCheckLooksWhereTheGatewayWrites(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	defer l.Close()
	sim := lab.Simulator(t, simulator.Options{})
	for lines, want := range map[string]string{
		"log: {security: nowhere/refusals.jsonl}":               "security log|failed|there is no folder|log.security",
		"log: {security: refusals.jsonl}":                       "security log|ok",
		"log: {security: " + t.TempDir() + "}":                  "security log|failed|is a folder|log.security",
		"audit: {dir: evidence, checkpoints: no/shipped.jsonl}": "checkpoints|failed|there is no folder|audit.checkpoints",
		"audit: {dir: /proc/evidence}":                          "evidence|failed|nothing can be made in /proc|audit.dir",
		"audit: {dir: client.p12/evidence}":                     "evidence|failed|is no folder|audit.dir",
		"audit: {dir: a/b/evidence}":                            "evidence|ok|kept for 10 years",
		"tracing: {endpoint: \"http://" + nobody + "\"}": "trace collector|warning|traces would be given up|" +
			"tracing.endpoint",
		"tracing: {endpoint: \"http://" + l.Addr().String() + "\"}": "trace collector|ok|takes connections",
	} {
		t.Run(lines, func(t *testing.T) {
			expect(t, checkOnline(t, sim, lab.Dir(t), "log: {format: text}\n", lines+"\n"), want)
		})
	}
}
