package proxy

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"strconv"
	"testing"

	"ebox-gateway/internal/call"
)

// BenchmarkServe runs a whole exchange over loopback sockets, through a bare
// httputil.ReverseProxy that sets the same two headers and through this package,
// with an answer of two kilobytes. It measures caller and upstream too, which are
// the same for all.
func BenchmarkServe(b *testing.B) {
	text := list()
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h["Content-Type"] = []string{"application/json"}
		if r.URL.Path == "/REST/v3/text" {
			h["Content-Type"] = []string{"text/plain"}
		}
		h["Content-Length"] = []string{strconv.Itoa(len(text))}
		_, _ = w.Write(text)
	}))
	defer upstream.Close()
	base := mustURL(b, upstream.URL+"/REST/v3")
	transport := func() *http.Transport { return &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64} }

	bare := &httputil.ReverseProxy{Transport: transport(), Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(base)
		r.Out.Header["Authorization"] = []string{"Bearer x"}
		r.Out.Header["On-Behalf-Of-Enterprise-Number"] = []string{"0206731645"}
	}}

	o := testOptions()
	p, err := New(o)
	if err != nil {
		b.Fatal(err)
	}
	out := transport()
	up, err := NewUpstream("nsso", base, NewCounter(authorized{out}, o), true)
	if err != nil {
		b.Fatal(err)
	}
	ours := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := exchange.With(r.Context(), &call.Record{ID: "5f1d7a3e-0000-4000-8000-000000000001"})
		p.Serve(w, r.WithContext(ctx), &Call{
			Upstream: up, Path: r.URL.EscapedPath(), RawQuery: r.URL.RawQuery,
			Set:   []Field{{"On-Behalf-Of-Enterprise-Number", []string{"0206731645"}}},
			Links: LinkBase{Origin: "http://127.0.0.1:8080", Prefix: gatewayPrefix},
		})
	})
	for _, c := range []struct {
		name, path string
		handler    http.Handler
	}{
		{"bare ReverseProxy", "/text", bare},
		{"proxy", "/text", ours},
		{"proxy, rewriting links", "/json", ours},
	} {
		b.Run(c.name, func(b *testing.B) {
			gateway := httptest.NewServer(c.handler)
			defer gateway.Close()
			client := transport()
			defer client.CloseIdleConnections()
			r, _ := http.NewRequestWithContext(b.Context(), "GET", gateway.URL+c.path, nil)
			r.Header.Set("Accept", "application/json")
			r.Header.Set("Accept-Language", "nl")
			b.ReportAllocs()
			for b.Loop() {
				resp, err := client.RoundTrip(r)
				if err != nil {
					b.Fatal(err)
				}
				if n, _ := io.Copy(io.Discard, resp.Body); n < int64(len(text)) || resp.StatusCode != 200 {
					b.Fatalf("%d bytes, status %d", n, resp.StatusCode)
				}
				resp.Body.Close()
			}
		})
	}
	out.CloseIdleConnections()
	bare.Transport.(*http.Transport).CloseIdleConnections()
}

// authorized stands for the credentials layer.
type authorized struct{ next http.RoundTripper }

func (a authorized) RoundTrip(r *http.Request) (*http.Response, error) {
	out := r.WithContext(r.Context())
	out.Header = make(http.Header, len(r.Header)+1)
	for k, v := range r.Header {
		out.Header[k] = v
	}
	out.Header["Authorization"] = []string{"Bearer x"}
	return a.next.RoundTrip(out)
}
