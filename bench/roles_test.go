package bench_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/demo"
	"ebox-gateway/internal/gateway"
	"ebox-gateway/internal/telemetry"
)

// reverseProxy is what a gateway cannot do without: the standard library's proxy,
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

// recipe is what a gateway is made of.
type recipe struct {
	upstream string
	// text is its configuration beside the addresses and the one client, whose tokens
	// come from upstream.
	text string
	// files are what text names, beside it in folder; a folder that is not given is
	// gone once they are read.
	files   map[string]string
	folder  string
	options gateway.Options
}

// serve starts the whole chain, from the edge to the transport.
func (r *recipe) serve() (net.Addr, error) {
	dir := r.folder
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "gateway-bench-"); err != nil {
			return nil, err
		}
		defer os.RemoveAll(dir)
	}
	if _, err := demo.NewClient(dir); err != nil {
		return nil, err
	}
	for name, content := range r.files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			return nil, err
		}
	}
	cfg, err := config.Parse("bench.yaml", fmt.Appendf(nil, `environment: custom
server: {listen: 127.0.0.1:0}
admin: {listen: 127.0.0.1:0}
oauth: {tokenUrl: %s/token, clients: {bench: {clientId: bench, keystore: {file: client.p12, password: demo}}}}
%s`, r.upstream, r.text), dir, os.LookupEnv)
	if err != nil {
		return nil, err
	}
	o := r.options
	o.Log = slog.New(slog.DiscardHandler)
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

// caching keeps what is below /kept for an hour, and asks about everything else.
const caching = "cache: {enabled: true, rules: [{paths: [/kept/**], defaultTtl: 1h}]}"

// providersRoute is the route to the providers; more is a line of its settings.
func providersRoute(more string) string {
	return `routes:
  - name: providers
    kind: ebox
    path: "/ebox/providers/{providerId}"
    upstream: {registry: true}
    scopes: [messages]
    ` + more + "\n"
}

// serveGateway starts a gateway for one enterprise and four providers.
func serveGateway(upstream string, accessLog bool, cache string) (net.Addr, error) {
	r := recipe{upstream: upstream, text: fmt.Sprintf(`tenancy: {enterprises: [{number: 0206.731.645}]}
registry:
  providers:
    - {id: nsso, url: %[1]s/base, apiVersion: "3.0"}
    - {id: other, url: %[1]s/other, apiVersion: "3.0"}
    - {id: distant, url: %[1]s/distant, apiVersion: "3.0"}
    - {id: frozen, url: %[1]s/frozen, apiVersion: "3.0"}
%[2]s`, upstream, providersRoute(cache))}
	if accessLog {
		null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
		if err != nil {
			return nil, err
		}
		r.options.Done = telemetry.NewAccessLog(telemetry.Locked(null), "json", slog.LevelInfo).Done
	}
	return r.serve()
}

// tokenEndpoint gives every client the same token.
func tokenEndpoint(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"access_token":"benchmark-token-of-a-usual-length-0123456789","token_type":"Bearer",`+
		`"expires_in":3600,"scope":"messages"}`)
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
	mux.HandleFunc("POST /token", tokenEndpoint)
	mux.HandleFunc("/base/ebox/messages/1/attachments/1/content", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/pdf")
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(document))
	})
	mux.HandleFunc("/base/ebox/messages/1/attachments/2/content", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/pdf")
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(largeDocument))
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

var (
	document      = strings.Repeat("%PDF-1.7 ", 2048/9)
	largeDocument = strings.Repeat("%PDF-1.7 ", 65536/9)
)

// messages is a page of n messages, as a Message Registry gives it.
func messages(n int) string {
	var b strings.Builder
	b.WriteString(`{"items":[`)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b,
			`{"messageId":"%036d","subject":{"nl":"Bijdragebericht derde kwartaal",`+
				`"fr":"Avis de cotisation du troisième trimestre"},"receiptDate":"2026-11-%02dT09:26:00Z",`+
				`"senderOrganizationId":"0206731645","messageTypeId":"contribution","readStatus":false,`+
				`"attachments":[{"attachmentId":"1","fileName":"bericht.pdf","mediaType":"application/pdf",`+
				`"mainContent":true,"size":1800.0,"contentHref":"/base/ebox/messages/%036d/attachments/1/content"}]}`,
			i, i+1, i)
	}
	b.WriteString(`],"totalItems":4,"_links":{"self":{"href":"/base/ebox/messages?page=1"}}}`)
	return b.String()
}
