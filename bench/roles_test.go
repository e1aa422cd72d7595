package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/http/pprof"
	"net/url"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/demo"
	"ebox-gateway/internal/gateway"
	"ebox-gateway/internal/telemetry"
)

const (
	roleVariable     = "BENCH_ROLE"
	upstreamVariable = "BENCH_UPSTREAM"
)

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		if err := play(role, os.Getenv(upstreamVariable)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// play runs one role until standard input ends, which it does with the parent.
func play(role, upstream string) error {
	var serving net.Addr
	var err error
	switch role {
	case "upstream":
		serving, err = serve(upstreamHandler())
	case "reverseproxy":
		serving, err = serve(reverseProxy(upstream))
	case "gateway", "gateway-quiet":
		serving, err = serveGateway(upstream, role == "gateway", "{enabled: false}")
	case "gateway-polled":
		serving, err = servePolls(upstream)
	case "gateway-cache":
		serving, err = serveGateway(upstream, false, "{enabled: true, rules: [{paths: [/kept/**], defaultTtl: 1h}]}")
	case roleReplica:
		serving, err = serveReplica(upstream, "")
	case roleReplicaRate:
		serving, err = serveReplica(upstream, ", rate: {perSecond: 1000000, burst: 1000000, scope: cluster}")
	case roleProviders:
		serving, err = serve(providersHandler())
	case roleGatewayInbox:
		serving, err = serveGatewayInbox(upstream)
	default:
		err = fmt.Errorf("there is no role %q", role)
	}
	if err != nil {
		return err
	}
	control, err := serve(controls())
	if err != nil {
		return err
	}
	fmt.Println(serving, control)
	_, _ = io.Copy(io.Discard, os.Stdin)
	return nil
}

func serve(h http.Handler) (net.Addr, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	go func() { _ = (&http.Server{Handler: h}).Serve(l) }()
	return l.Addr(), nil
}

// spent is what a process has used since its start.
type spent struct {
	CPU     time.Duration
	Mallocs uint64
	Bytes   uint64
	RSS     int64 // bytes, the most so far
}

// controls tell the parent what was spent, and a profiler where: pass its address,
// which -v prints, to go tool pprof.
func controls() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/", usage)
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	return mux
}

func usage(w http.ResponseWriter, _ *http.Request) {
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	var ru syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &ru)
	_ = json.NewEncoder(w).Encode(spent{
		CPU:     time.Duration(ru.Utime.Nano() + ru.Stime.Nano()),
		Mallocs: mem.Mallocs, Bytes: mem.TotalAlloc, RSS: ru.Maxrss * 1024,
	})
}

// reverseProxy is what people would take otherwise: the standard library's proxy,
// setting the two headers that the gateway sets.
func reverseProxy(upstream string) http.Handler {
	base := &url.URL{Scheme: "http", Host: strings.TrimPrefix(upstream, "http://")}
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(base)
			r.Out.Header.Set("Authorization", "Bearer benchmark")
			r.Out.Header.Set("On-Behalf-Of-Enterprise-Number", "0206731645")
		},
		Transport: &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true},
	}
}

// serveGateway starts the whole chain, from the edge to the transport.
func serveGateway(upstream string, accessLog bool, cache string) (net.Addr, error) {
	dir, err := os.MkdirTemp("", "gateway-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir) // the key is read while the gateway is built
	if _, err := demo.NewClient(dir); err != nil {
		return nil, err
	}
	text := fmt.Sprintf(`environment: custom
server: {listen: 127.0.0.1:0}
admin: {listen: 127.0.0.1:0}
oauth: {tokenUrl: %[1]s/token, clients: {bench: {clientId: bench, keystore: {file: client.p12, password: demo}}}}
tenancy: {enterprises: [{number: 0206.731.645}]}
registry: {providers: [{id: nsso, url: %[1]s/base, apiVersion: "3.0"}, {id: other, url: %[1]s/other, apiVersion: "3.0"}, {id: distant, url: %[1]s/distant, apiVersion: "3.0"}, {id: frozen, url: %[1]s/frozen, apiVersion: "3.0"}]}
routes: [{name: providers, kind: ebox, path: "/ebox/providers/{providerId}", upstream: {registry: true}, scopes: [messages], cache: %[2]s}]
`, upstream, cache)
	cfg, err := config.Parse("bench.yaml", []byte(text), dir, os.LookupEnv)
	if err != nil {
		return nil, err
	}
	o := gateway.Options{Log: slog.New(slog.DiscardHandler)}
	if accessLog {
		null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
		if err != nil {
			return nil, err
		}
		o.Done = telemetry.NewAccessLog(telemetry.Locked(null), "json", slog.LevelInfo).Done
	}
	g, err := gateway.New(cfg, o)
	if err != nil {
		return nil, err
	}
	if err := g.Start(); err != nil {
		return nil, err
	}
	go func() { _ = g.Run(context.Background(), context.Background()) }()
	return g.Addrs()[0], nil
}

// upstreamHandler answers a token request, a document and, for every other path, a
// page of messages of about 2 KB with the links that such a page has.
func upstreamHandler() http.Handler {
	page := []byte(messages(4))
	answer := func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		if r.Header.Get("If-None-Match") == `"5f3c"` {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		h["Content-Type"] = []string{"application/json"}
		h["Content-Length"] = []string{fmt.Sprint(len(page))}
		h["Etag"] = []string{`"5f3c"`}
		_, _ = w.Write(page)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"access_token":"benchmark-token-of-a-usual-length-0123456789","token_type":"Bearer","expires_in":3600,"scope":"messages"}`)
	})
	mux.HandleFunc("/base/ebox/messages/1/attachments/1/content", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/pdf")
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(document))
	})
	mux.HandleFunc("/base/upload", func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n)
	})
	mux.HandleFunc("/base/large", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(1<<30))
		block := make([]byte, 1<<16)
		for range 1 << 14 {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	})
	mux.HandleFunc("/distant/", func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(distance)
		answer(w, r)
	})
	mux.HandleFunc("/frozen/", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	mux.HandleFunc("/", answer)
	return mux
}

var document = strings.Repeat("%PDF-1.7 ", 2048/9)

// messages is a page of n messages, as a Message Registry gives it.
func messages(n int) string {
	var b strings.Builder
	b.WriteString(`{"items":[`)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"messageId":"%036d","subject":{"nl":"Bijdragebericht derde kwartaal","fr":"Avis de cotisation du troisième trimestre"},"receiptDate":"2026-11-%02dT09:26:00Z","senderOrganizationId":"0206731645","messageTypeId":"contribution","readStatus":false,"attachments":[{"attachmentId":"1","fileName":"bericht.pdf","mediaType":"application/pdf","mainContent":true,"size":1800.0,"contentHref":"/base/ebox/messages/%036d/attachments/1/content"}]}`, i, i+1, i)
	}
	b.WriteString(`],"totalItems":4,"_links":{"self":{"href":"/base/ebox/messages?page=1"}}}`)
	return b.String()
}

// child is another process of this binary.
type child struct {
	url     string
	control string
	cmd     *exec.Cmd
	stdin   io.Closer
}

func start(tb testing.TB, role, upstream string) *child {
	tb.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), roleVariable+"="+role, upstreamVariable+"="+upstream, "GOMAXPROCS=1")
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	c := &child{cmd: cmd, stdin: stdin}
	tb.Cleanup(func() {
		_ = c.stdin.Close()
		_ = c.cmd.Wait()
	})
	var serving, control string
	if _, err := fmt.Fscan(stdout, &serving, &control); err != nil {
		tb.Fatalf("starting %s: %v", role, err)
	}
	c.url, c.control = "http://"+serving, "http://"+control
	tb.Logf("%s: profiles at %s/debug/pprof/", role, c.control)
	return c
}

func (c *child) spent(tb testing.TB) spent {
	tb.Helper()
	resp, err := http.Get(c.control)
	if err != nil {
		tb.Fatal(err)
	}
	defer resp.Body.Close()
	var s spent
	if err := json.NewDecoder(resp.Body).Decode(&s); err != nil {
		tb.Fatal(err)
	}
	return s
}
