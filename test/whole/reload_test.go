package whole_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/operate/status"
	"ebox-gateway/internal/simulator"
	"ebox-gateway/internal/testkit"
	"ebox-gateway/internal/testkit/lab"
)

func (h *house) statusOf(path string) int { return h.get(path).status }

const ofUnlisted = "/enterprises/" + unlisted + nsso + "/ebox"

func TestANewEnterpriseIsServedWithoutARestartAndTheLogSaysSo(t *testing.T) {
	t.Parallel()
	f := watched(t)
	before := f.status().Configuration.Hash
	for _, want := range []string{`"msg":"started","version":"test","environment":"custom","hash":"` + before,
		`"clients":["`, `"listeners":["127.0.0.1:`, `"admin":["127.0.0.1:`} {
		if !strings.Contains(f.log.String(), want) {
			t.Errorf("the start line lacks %s", want)
		}
	}
	if got := f.statusOf(ofUnlisted); got != 403 {
		t.Fatalf("before: %d", got)
	}
	tokens := f.sim.TokensIssued()
	f.change(t, "    - {number: 0206.731.645,", "    - {number: 0800.002.352}\n    - {number: 0206.731.645,")
	eventually(t, "the new enterprise", func() bool {
		return f.statusOf("/enterprises/"+unlisted+"/ebox/providers") == 200
	})
	f.get(box).want(t, 200)
	if n := f.sim.TokensIssued() - tokens; n > 1 { // the first call to this provider needs one
		t.Errorf("the reload cost %d tokens", n)
	}
	eventually(t, "its line", func() bool {
		return strings.Contains(f.log.String(), `"before":"`+before+`","changed":["tenancy.enterprises"]`)
	})
}

func TestABadFileLeavesTheOldInForceAndSaysSo(t *testing.T) {
	t.Parallel()
	f := watched(t)
	before := f.status().Configuration.Hash
	f.change(t, "tenancy:", "tenancies:")
	eventually(t, "the rejection", func() bool { return f.status().Configuration.Rejected != nil })
	s := f.status()
	if s.Configuration.Hash != before || s.Health != "DEGRADED" ||
		!strings.Contains(strings.Join(s.Configuration.Rejected.Errors, "\n"), "tenancies") {
		t.Errorf("%+v", s)
	}
	f.get(box).want(t, 200)
	f.change(t, "tenancies:", "tenancy:")
	eventually(t, "the recovery", func() bool {
		s := f.status()
		return s.Configuration.Rejected == nil && s.Health == "UP"
	})
}

// The watcher took a configuration that was confirmed for one that it knew, with its files.
func TestDroppingManyEnterprisesWaitsForConfirmation(t *testing.T) {
	t.Parallel()
	f := watched(t)
	f.write(t, "more.csv", "number;name\n")
	f.change(t, "    - {number: 0206.731.645, name: With a mandate}\n", "",
		"tenancy:\n", "tenancy:\n  enterpriseFiles: [more.csv]\n")
	refusal := f.refusal(t)
	if !strings.Contains(refusal, "drops 1 of 3 enterprises") {
		t.Errorf("%s", refusal)
	}
	f.get(box).want(t, 200)
	_, hash, _ := strings.Cut(refusal, "hash=")
	hash, _, _ = strings.Cut(hash, " ")
	f.operate("POST", "/configuration/confirm?hash="+hash).want(t, 200)
	f.get(box).want(t, 403)
	f.hup <- syscall.SIGHUP
	eventually(t, "the watcher to see it", func() bool { return strings.Contains(f.log.String(), "nothing has changed") })
	f.write(t, "more.csv", "number;name\n"+unlisted+";New\n")
	eventually(t, "the enterprise of the new file", func() bool {
		return f.statusOf("/enterprises/"+unlisted+"/ebox/providers") == 200
	})
}

func TestListenersMoveWithAConfigurationThatIsTaken(t *testing.T) {
	t.Parallel()
	f := watched(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	defer taken.Close()
	moved := testkit.Address(t)
	before := f.status().Configuration.Hash
	// The admin listener used to move before the internal one was tried.
	f.change(t, `server: {listen: "127.0.0.1:0"`, `server: {listen: ["127.0.0.1:0", "`+taken.Addr().String()+`"]`,
		`admin: {listen: "127.0.0.1:0"`, `admin: {listen: "`+moved+`"`)
	eventually(t, "the rejection, told by the admin listener as it was", func() bool {
		return f.status().Configuration.Rejected != nil
	})
	f.change(t, `, "`+taken.Addr().String()+`"]`, `, "`+moved+`"]`, `admin: {listen: "`+moved+`"`,
		`admin: {listen: "127.0.0.1:0"`)
	eventually(t, "the new address", func() bool {
		resp, err := f.HTTP.Get("http://" + moved + "/ebox/providers")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == 200
	})
	f.get("/ebox/providers").want(t, 200)
	f.change(t, `server: {listen: ["127.0.0.1:0", "`+moved+`"]`, `server: {listen: "127.0.0.1:0"`)
	eventually(t, "the former configuration", func() bool {
		s := f.status().Configuration
		if s.Rejected != nil {
			t.Fatal(s.Rejected.Errors)
		}
		return s.Hash == before
	})
	eventually(t, "the end of the new address", func() bool {
		conn, err := net.Dial("tcp", moved)
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
	f.get("/ebox/providers").want(t, 200)
}

// calling has callers, who keep their connections and repeat nothing, write one thing after the other to the house
// that at names, and tells answered of each answer. None may be lost or refused. stop ends them.
func calling(t *testing.T, at func() *house, answered func(*house, *http.Response)) (stop func()) {
	t.Helper()
	const order = `{` + flexiJob + `,"representedEnterpriseNumber":"` + mandated + `"}`
	var over atomic.Bool
	var callers sync.WaitGroup
	for range 16 {
		callers.Go(func() {
			transport := &http.Transport{MaxIdleConnsPerHost: 4}
			defer transport.CloseIdleConnections()
			for !over.Load() {
				h := at()
				req, err := http.NewRequest("POST", h.Base+grant+"/mandates", strings.NewReader(order))
				if err != nil {
					t.Error(err)
					return
				}
				req.Header.Set("Content-Type", "application/json")
				req.GetBody = nil // or the client would repeat it
				resp, err := transport.RoundTrip(req)
				if err != nil {
					t.Errorf("a request was lost: %v", err)
					return
				}
				text, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || resp.StatusCode != http.StatusCreated {
					t.Errorf("%s %v %s", resp.Status, err, text)
					return
				}
				answered(h, resp)
			}
		})
	}
	return func() {
		over.Store(true)
		callers.Wait()
	}
}

// Callers keep asking while the configuration changes in every way it can.
func TestNoRequestIsLostOverManyReloads(t *testing.T) {
	t.Parallel()
	f := watched(t)
	var asked atomic.Int64
	stop := calling(t, func() *house { return f.house }, func(*house, *http.Response) { asked.Add(1) })
	limits := []string{"idleTimeout: 61s", "idleTimeout: 62s, maxStreams: 100", "maxConnections: 500",
		"maxHeaderBytes: 32KiB"}
	const reloads = 20 // each kind five times
	text := testkit.Read(t, f.path("config.yaml"))
	for i := range reloads {
		next := text
		switch i % 4 {
		case 0:
			next = strings.Replace(next, "server: {", "server: {limits: {"+limits[i/4%4]+"}, ", 1)
		case 1:
			next = strings.Replace(next, "registry:\n", fmt.Sprintf("registry:\n  refresh: %dm\n", i+1), 1)
		case 2:
			next = strings.Replace(next, "oauth:\n", fmt.Sprintf("oauth:\n  timeout: %dm\n", i+1), 1)
		case 3:
			next = strings.Replace(next, "tenancy:\n",
				fmt.Sprintf("callers: [{name: c%d, networks: [127.0.0.0/8], own: true}]\ntenancy:\n", i), 1)
		}
		cfg, err := lab.Read(next, f.dir)
		testkit.Must(t, err)
		before := asked.Load()
		testkit.Must(t, f.Gateway.Replace(cfg, ""))
		eventually(t, "requests between two reloads", func() bool { return t.Failed() || asked.Load() > before })
	}
	stop()
}

func TestDrainServesThenRefusesThenEnds(t *testing.T) {
	t.Parallel()
	arrived, release := make(chan struct{}), make(chan struct{})
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-release
		_, _ = io.WriteString(w, `{"numberOfMessages":0}`)
	}))
	t.Cleanup(provider.Close)
	h := open(t, providerAt(provider.URL))
	under := make(chan answer, 1)
	go func() { under <- h.get("/enterprises/" + mandated + nsso + "/ebox") }()
	<-arrived
	ended := make(chan error, 1)
	go func() { ended <- h.Stop() }()
	eventually(t, "not ready", func() bool { return h.operate("GET", "/readyz").status == 503 })
	eventually(t, "the refusal of new requests", func() bool { return h.get("/ebox/providers").status == 503 })
	close(release)
	if got := <-under; got.status != 200 {
		t.Errorf("the request under way got %d %s", got.status, got.body)
	}
	if err := <-ended; err != nil {
		t.Errorf("the end: %v", err)
	}
}

func TestASecondSignalCutsWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	h := open(t, edit("drain: {delay: 0s, timeout: 5s}", "drain: {delay: 1h, timeout: 1h}"))
	h.fault(frozen(nsso))
	cut := make(chan error, 1)
	go func() {
		resp, err := http.Get(h.Base + "/enterprises/" + mandated + nsso + "/ebox")
		if err == nil {
			resp.Body.Close()
			err = fmt.Errorf("answered %s", resp.Status)
			if resp.StatusCode >= 500 {
				err = io.ErrUnexpectedEOF
			}
		}
		cut <- err
	}()
	eventually(t, "the request under way", func() bool { return h.sim.RequestCount("provider:nsso") == 1 })
	h.Cut()
	if err := h.Stop(); err == nil || !strings.Contains(err.Error(), "cut") {
		t.Errorf("the end says nothing of what was cut: %v", err)
	}
	if err := <-cut; err == nil || strings.Contains(err.Error(), "answered") {
		t.Errorf("the cut is not visible: %v", err)
	}
}

// A file may change, or a SIGHUP come, while the gateway ends: what it would start ran on.
func TestNothingStartsForAConfigurationThatComesAfterTheEnd(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "security.log")
	h := open(t)
	testkit.Must(t, h.Stop())
	cfg, err := lab.Read(lab.Config(t, h.sim, "log: {format: text}", "log: {format: text, security: "+path+"}")+
		"tracing: {endpoint: \"http://127.0.0.1:1\"}\n", h.dir)
	testkit.Must(t, err)
	if err := h.Gateway.Replace(cfg, ""); err == nil || !strings.Contains(err.Error(), "stopped") {
		t.Errorf("it is taken: %v", err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("its log of refusals was opened: %v", err)
	}
}

// The suspension went to the configuration that was being replaced, and was gone with it.
func TestASuspensionThatComesDuringAConfirmationIsKept(t *testing.T) {
	t.Parallel()
	f := watched(t, edit("tenancy:\n", "tenancy:\n  suspendedFiles: [stop.txt]\n"))
	f.hup <- syscall.SIGHUP
	eventually(t, "the watcher to follow", func() bool { return strings.Contains(f.log.String(), "nothing has changed") })
	text := testkit.Read(t, f.path("config.yaml"))
	confirmed, err := lab.Read(edit("name: With a mandate}", "name: Renamed}")(t, text), f.dir)
	testkit.Must(t, err)
	read := func() *config.Config {
		f.write(t, "stop.txt", another+"\n")
		f.change(t, "registry:", "registries:") // nothing else is taken from here on
		// The watcher must not stop the number before the configuration is in force that was read. If it did, it
		// would be within a few looks.
		for range 20 {
			if strings.Contains(f.log.String(), "enterprises were suspended") {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		return confirmed
	}
	f.instead.Store(&read)
	testkit.Must(t, f.Gateway.Confirm(confirmed.Hash()))
	eventually(t, "the suspension", func() bool { return f.statusOf("/enterprises/"+another+nsso+"/ebox") == 403 })
}

// Numbers that a broken file holds are suspended. A full disk, or a program that truncates before it writes, empties a
// file, and lifts nothing.
func TestASuspensionStopsWhateverIsBadAndIsLiftedOnPurposeAlone(t *testing.T) {
	t.Parallel()
	f := watched(t, edit("tenancy:\n", "tenancy:\n  suspendedFiles: [stop.txt]\n"))
	f.get(box).want(t, 200)
	f.change(t, "registry:", "registries:") // nothing else can be taken meanwhile
	f.refusal(t)
	f.write(t, "stop.txt", "# asked by phone\n0206.731.645\nthis line is a slip\n")
	eventually(t, "the suspension", func() bool { return f.statusOf(box) == 403 })
	f.get(anothersBox).want(t, 200)
	f.change(t, "registries:", "registry:")
	refused := ""
	for _, nobody := range []string{"", "# nobody yet\n"} { // with which all files are what they were at the start
		f.write(t, "stop.txt", nobody)
		eventually(t, "the refusal to lift it", func() bool {
			r := f.status().Configuration.Rejected
			return r != nil && r.Hash != refused && strings.Contains(r.Errors[0], "lifts the suspension of 1 of 1")
		})
		refused = f.status().Configuration.Rejected.Hash
		f.get(box).want(t, 403)
	}
	f.hup <- syscall.SIGHUP
	eventually(t, "the end of the suspension", func() bool { return f.statusOf(box) == 200 })
}

// Nobody writes to the FIFO. Reading it, or waiting for a writer, would last for ever.
func TestAFIFOInPlaceOfAWatchedFileStopsNeitherReloadNorExit(t *testing.T) {
	t.Parallel()
	f := watched(t, edit("tenancy:\n", "tenancy:\n  suspendedFiles: [stop.txt]\n"))
	for _, name := range []string{"stop.txt", "client.p12"} {
		testkit.Must(t, os.Remove(f.path(name)))
		testkit.Must(t, syscall.Mkfifo(f.path(name), 0o600))
	}
	if e := f.refusal(t); !strings.Contains(e, "not a regular file") {
		t.Errorf("%s", e)
	}
	f.get(box).want(t, 200)
	f.hup <- syscall.SIGHUP
	testkit.Must(t, os.Remove(f.path("stop.txt")))
	f.write(t, "stop.txt", "# nobody yet\n")
	f.change(t, "  suspendedFiles", "  # now\n  suspendedFiles")
	eventually(t, "the next configuration", func() bool { return f.status().Configuration.Rejected == nil })
} // the cleanup fails if the gateway does not stop

// Two gateways behind a balancer that asks for readiness, callers that keep their connections and repeat nothing:
// one of the two stops, and nobody notices.
func TestARollingStopLosesNoRequest(t *testing.T) {
	t.Parallel()
	// The test ends the delay when all callers have left, however long the balancer takes to see it.
	stays, stops := open(t), open(t, edit("drain: {delay: 0s, timeout: 5s}", "drain: {delay: 1h, timeout: 1h}"))
	var target atomic.Pointer[house]
	target.Store(stops)
	var served, leaving, moved atomic.Int64
	stop := calling(t, target.Load, func(h *house, resp *http.Response) {
		served.Add(1)
		switch {
		case h == stays:
			moved.Add(1)
		case resp.Close:
			leaving.Add(1)
		}
	})
	eventually(t, "callers at work", func() bool { return served.Load() > 50 })
	ended := make(chan error, 1)
	go func() { ended <- stops.Stop() }()
	eventually(t, "the balancer to see it", func() bool { return stops.operate("GET", "/readyz").status != 200 })
	eventually(t, "callers that are asked to leave", func() bool { return leaving.Load() > 50 })
	target.Store(stays)
	eventually(t, "callers at the other gateway", func() bool { return moved.Load() > 50 })
	stop()
	stops.Cut()
	if err := <-ended; err != nil {
		t.Errorf("the stop: %v", err)
	}
}

// A gateway starts whatever is down, says what it misses, and has it as soon as that is back.
func TestTheGatewayStartsWithoutTheOthersAndHeals(t *testing.T) {
	t.Parallel()
	for _, kind := range []simulator.FaultKind{simulator.FaultClose, simulator.FaultFreeze} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			sim := lab.Simulator(t, simulator.Options{})
			lab.Fault(t, sim, simulator.Fault{Upstream: simulator.UpstreamToken, Kind: kind})
			lab.Fault(t, sim, simulator.Fault{Upstream: simulator.UpstreamRegistry, Kind: kind})
			h := before(t, sim, often, edit("oauth:\n", "oauth:\n  timeout: 500ms\n"))
			eventually(t, "the first failure", func() bool { return h.status().Directory.LastError != "" })
			for path, status := range map[string]int{"/livez": 200, "/readyz": 503, "/health": 200} {
				h.operate("GET", path).want(t, status)
			}
			if s := h.status(); s.Health != "DEGRADED" {
				t.Errorf("the health is %s", s.Health)
			}
			h.get("/ebox/providers").want(t, 200)
			for _, path := range []string{box, mandates} { // of which one needs the list as well
				got := h.get(path).want(t, 503)
				if got.header.Get("Retry-After") == "" || !strings.Contains(got.header.Get("Proxy-Status"), "error=") ||
					strings.Contains(got.body, "127.0.0.1") {
					t.Errorf("%s: %v %s", path, got.header, got.body)
				}
			}
			sim.ClearFaults()
			eventually(t, "everything to work", func() bool { return h.get(box).status == 200 && h.get(mandates).status == 200 })
			eventually(t, "readiness", func() bool { return h.operate("GET", "/readyz").status == 200 })
			eventually(t, "health", func() bool { return h.status().Health == "UP" })
			h.keepsSecrets()
		})
	}
}

// A rolling update would otherwise replace every good replica by one that can do nothing.
func TestAGatewayWhoseClientIsRefusedIsNotReady(t *testing.T) {
	t.Parallel()
	h := build(t, edit("clientId: "+lab.Client(t).ID, "clientId: somebody-else"))
	eventually(t, "the end of the first tries", func() bool { return h.operate("GET", "/startupz").status == 200 })
	got := h.operate("GET", "/readyz").want(t, 503)
	if !strings.Contains(got.body, "client demo has had no token yet") || !strings.Contains(got.body, "invalid_client") {
		t.Errorf("%s", got.body)
	}
	if s := h.status(); s.Ready || !slices.ContainsFunc(s.Attention,
		func(a status.Attention) bool { return strings.Contains(a.Text, "not ready") }) {
		t.Errorf("%+v", s.Attention)
	}
	// Patience that is over makes it ready for what it can serve.
	h = build(t, edit("clientId: "+lab.Client(t).ID, "clientId: somebody-else"), add("readiness: {patience: 1ms}\n"))
	eventually(t, "the end of the patience", func() bool { return h.operate("GET", "/readyz").status == 200 })
}

func TestOnceReadyAnOutageDoesNotMakeAGatewayUnready(t *testing.T) {
	t.Parallel()
	h := open(t)
	eventually(t, "readiness", func() bool { return h.operate("GET", "/readyz").status == 200 })
	for _, upstream := range []string{simulator.UpstreamToken, simulator.UpstreamRegistry,
		simulator.ProviderUpstream("nsso")} {
		h.fault(simulator.Fault{Upstream: upstream, Kind: simulator.FaultStatus, Status: 503})
	}
	h.get(box).want(t, 503)
	h.operate("GET", "/readyz").want(t, 200)
}

// Two configurations that both have requests under way share the limit.
func TestTheLimitOfRequestsIsOneOverReloads(t *testing.T) {
	t.Parallel()
	f := watched(t, edit("server: {", "server: {limits: {maxRequests: 2}, "))
	f.fault(frozen(nsso))
	for i := range 2 {
		f.dial("").write("GET /enterprises/" + mandated + nsso + "/ebox/messages?page=" + strconv.Itoa(i+1) +
			" HTTP/1.1\r\nHost: localhost\r\n\r\n")
	}
	eventually(t, "the requests under way", func() bool { return f.sim.RequestCount("provider:nsso") == 2 })
	f.reload(t, "registry:\n", "registry:\n  refresh: 7m\n")
	f.get("/ebox/providers").want(t, 503)
	f.sim.ClearFaults()
}
