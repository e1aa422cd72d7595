package proxy_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/proxy"
)

func TestTheIdempotencyKeyItselfPasses(t *testing.T) {
	got := make(chan http.Header, 1)
	g := behind(t, func(_ http.ResponseWriter, r *http.Request) { got <- r.Header })
	g.get("POST", "/x", http.Header{"Idempotency-Key": {"7"}}, nil)
	if v := (<-got).Values("Idempotency-Key"); !slices.Equal(v, []string{"7"}) {
		t.Fatal(v)
	}
}

// twice is a stack that sends every request two times, as the token layer does
// after a 401, and fails if the body cannot be had again.
type twice struct{ next call.Sender }

func (l twice) Send(ctx context.Context, c *call.Call, r *http.Request) (*http.Response, error) {
	resp, err := l.next.Send(ctx, c, r)
	if err != nil {
		return nil, err
	}
	if r.GetBody == nil {
		return resp, nil
	}
	body, err := r.GetBody()
	if err != nil {
		return resp, nil
	}
	resp.Body.Close()
	again := r.WithContext(r.Context())
	again.Body = body
	return l.next.Send(ctx, c, again)
}

func TestABodyThatWasReadBeforeIsSentUnchanged(t *testing.T) {
	g := behind(t, func(_ http.ResponseWriter, r *http.Request) {
		if b, _ := io.ReadAll(r.Body); string(b) != "as it was" || r.ContentLength != 9 || r.Header.Get("Expect") != "" {
			t.Errorf("%q, length %d, %v", b, r.ContentLength, r.Header)
		}
	})
	g.up.Stack = twice{g.up.Stack}
	g.call = func(r *http.Request, c *call.Call) {
		c.Body, _ = io.ReadAll(r.Body)
		c.BodyRead = true
	}
	g.get("POST", "/x", nil, io.MultiReader(strings.NewReader("as it was")))
	if rec := g.record(); rec.Tries != 2 || rec.BytesIn != 9 {
		t.Fatalf("%+v", rec)
	}
}

// However tries interleave, each one that reads to the end without an error has
// read the body, and the caller's body is read once.
func TestEveryTryReadsTheSameBody(t *testing.T) {
	const kept = 64 << 10
	p := proxy.New(testOptions())
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(1, kept+kept/2).Draw(t, "size")
		want := strings.Repeat("0123456789", size/10+1)[:size]
		length := int64(-1)
		if rapid.Bool().Draw(t, "declared") {
			length = int64(size)
		}
		c := call.New()
		c.Method, c.HasBody = "POST", true
		var last io.Reader
		c.To = upstream(func(_ context.Context, _ *call.Call, out *http.Request) (*http.Response, error) {
			last = out.Body
			begun := false
			for range rapid.IntRange(0, 4).Draw(t, "tries") {
				part := rapid.IntRange(0, size).Draw(t, "part")
				begun = begun || part > 0
				got, err := io.ReadAll(io.LimitReader(last, int64(part)))
				if err != nil || string(got) != want[:part] {
					t.Fatalf("a try read %d bytes, %v", len(got), err)
				}
				next, err := out.GetBody()
				if err != nil {
					if size <= kept || !begun {
						t.Fatalf("a body of %d bytes is not kept: %v", size, err)
					}
					return nil, err
				}
				if n, err := last.Read(make([]byte, 1)); n != 0 || err == nil {
					t.Fatalf("an earlier try still reads: %d, %v", n, err)
				}
				last = next
			}
			if got, err := io.ReadAll(last); err != nil || string(got) != want {
				t.Fatalf("the last try read %d bytes, %v", len(got), err)
			}
			return &http.Response{StatusCode: 204, Body: http.NoBody, Header: make(http.Header)}, nil
		})
		r := httptest.NewRequest("POST", "/x", strings.NewReader(want))
		r.ContentLength = length
		p.Serve(httptest.NewRecorder(), r, c)
		if _, err := last.Read(make([]byte, 1)); err == nil || err == io.EOF {
			t.Fatalf("reading goes on after the end: %v", err)
		}
	})
}

// upstream is one whose stack is a function.
func upstream(stack call.SenderFunc) *call.Upstream {
	u, err := call.NewUpstream("test", &url.URL{Scheme: "http", Host: "upstream.test"}, stack, false)
	if err != nil {
		panic(err)
	}
	return u
}
