package proxy

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"testing"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/links"
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
	base := parsed(b, upstream.URL+"/REST/v3")
	transport := func() *http.Transport { return &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64} }

	bare := &httputil.ReverseProxy{Transport: transport(), Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(base)
		r.Out.Header["Authorization"] = []string{"Bearer x"}
		r.Out.Header["On-Behalf-Of-Enterprise-Number"] = []string{"0206731645"}
	}}

	p, err := New(testOptions())
	if err != nil {
		b.Fatal(err)
	}
	out := newTransport()
	up, err := call.NewUpstream("nsso", base, counted(authorized{bottom(out)}), true)
	if err != nil {
		b.Fatal(err)
	}
	ours := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := call.New()
		c.ID, c.Method, c.Header = "5f1d7a3e-0000-4000-8000-000000000001", r.Method, r.Header
		c.To, c.Target, c.Query, c.Represented = up, r.URL.EscapedPath(), r.URL.RawQuery, []string{"0206731645"}
		c.Links = links.Base{Origin: "http://127.0.0.1:8080", Prefix: gatewayPrefix}
		p.Serve(w, r, c)
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
type authorized struct{ next call.Sender }

func (a authorized) Send(ctx context.Context, c *call.Call, r *http.Request) (*http.Response, error) {
	out := *r
	out.Header = make(http.Header, len(r.Header)+1)
	for k, v := range r.Header {
		out.Header[k] = v
	}
	out.Header["Authorization"] = []string{"Bearer x"}
	return a.next.Send(ctx, c, &out)
}

// list is a list of messages of some two kilobytes, with links.
func list() []byte {
	var b bytes.Buffer
	b.WriteString(`{"items":[`)
	for i := range 10 {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(
			`{"id":"0190f7c2-4d2e-7f00-8000-0123456789ab","subject":{"nl":"Bericht","fr":"Message"},"read":false,"pages":12,` +
				`"contentHref":"https://services.socialsecurity.be/REST/v3/ebox/messages/1/body","_links":{"self":{"href":"/REST/v3/ebox/messages/1"}}}`)
	}
	b.WriteString(`],"totalItems":10}`)
	return b.Bytes()
}

func parsed(b *testing.B, s string) *url.URL {
	b.Helper()
	u, err := url.Parse(s)
	if err != nil {
		b.Fatal(err)
	}
	return u
}
