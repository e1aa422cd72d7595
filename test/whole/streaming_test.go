package whole_test

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"ebox-gateway/internal/simulator"
	"ebox-gateway/internal/testkit"
)

const large = messages + "/" + simulator.LargeMessage + "/attachments/"

// attachmentDigest is the SHA-256 that the provider itself gives for an attachment.
func (h *house) attachmentDigest(path string) string {
	h.t.Helper()
	meta := h.get(path).want(h.t, 200).body
	_, rest, found := strings.Cut(meta, `"digestValue":"`)
	if !found {
		h.t.Fatalf("no digest in %s", meta)
	}
	value, _, _ := strings.Cut(rest, `"`)
	return value
}

func TestDownloadOf64MegabytesArrivesWhole(t *testing.T) {
	t.Parallel()
	h := open(t)
	for _, c := range []struct {
		proto, attachment string
		size              int64
	}{{"HTTP/1.1", "5", 64 << 20}, {"HTTP/2", "4", 16 << 20}} {
		t.Run(c.proto, func(t *testing.T) {
			want := h.attachmentDigest(large + c.attachment)
			transport := &http.Transport{Protocols: new(http.Protocols)}
			transport.Protocols.SetUnencryptedHTTP2(c.proto == "HTTP/2")
			transport.Protocols.SetHTTP1(c.proto == "HTTP/1.1")
			defer transport.CloseIdleConnections()
			resp, err := (&http.Client{Transport: transport}).Get(h.Base + large + c.attachment + "/content")
			testkit.Must(t, err)
			defer resp.Body.Close()
			sum := sha256.New()
			n, err := io.Copy(sum, resp.Body)
			if got := base64.RawURLEncoding.EncodeToString(sum.Sum(nil)); err != nil || n != c.size || resp.ContentLength != n ||
				got != want {
				t.Errorf("%d of %d bytes, SHA-256 %s instead of %s: %v", n, resp.ContentLength, got, want, err)
			}
		})
	}
}

func TestRangesValidatorsAndHEAD(t *testing.T) {
	t.Parallel()
	h := open(t)
	const path = large + "1/content" // 1 KB
	whole := h.get(path).want(t, 200)
	tag := whole.header.Get("Etag")
	if len(whole.body) != 1024 || tag == "" || whole.header.Get("Content-Disposition") == "" {
		t.Fatalf("%v", whole.header)
	}
	for _, c := range []struct {
		name   string
		fields []string
		status int
		body   string
	}{
		{"If-Range that holds", []string{"Range: bytes=10-19", "If-Range: " + tag}, 206, whole.body[10:20]},
		{"If-Range that does not", []string{"Range: bytes=0-4", `If-Range: "other"`}, 200, whole.body},
		{"not modified", []string{"If-None-Match: " + tag}, 304, ""},
	} {
		got := h.get(path, c.fields...).want(t, c.status)
		if got.body != c.body || (c.status == 206) != (got.header.Get("Content-Range") != "") ||
			c.status == 304 && got.header.Get("Etag") != tag {
			t.Errorf("%s: %v %q", c.name, got.header, got.body)
		}
	}
	head := h.send("HEAD", path, nil).want(t, 200)
	if head.body != "" || head.header.Get("Content-Length") != "1024" || head.header.Get("Etag") != tag {
		t.Errorf("HEAD: %v %q", head.header, head.body)
	}
	list := h.get(messages+"?pageSize=1", "Range: bytes=0-10", "Accept-Encoding: gzip").want(t, 200)
	if !strings.HasSuffix(strings.TrimSpace(list.body), "}") || list.header.Get("Content-Encoding") != "" {
		t.Errorf("a list that is rewritten: %v %q", list.header, list.body)
	}
	h.get(messages+"?pageSize=1", "If-None-Match: "+list.header.Get("Etag")).want(t, 304)
}

func TestACutAnswerIsNeverEndedAsIfWhole(t *testing.T) {
	t.Parallel()
	h := open(t)
	for range 100 { // with 40 attachments each their list is 1.6 MB
		if _, err := h.sim.AddMessage("nsso", 206731645, simulator.Draft{Sizes: make([]int64, 40)}); err != nil {
			t.Fatal(err)
		}
	}
	const (
		list     = messages + "?pageSize=100" // 1.6 MB that are rewritten, so that their length is not known
		short    = messages + "?pageSize=1"   // short enough to be held back whole
		document = large + "4/content"        // 16 MB
		cut      = "cut"
		told     = "502"
	)
	for _, c := range []struct {
		name, path, proto string
		after             int64
		how               string
	}{
		{"chunked", list, "1.1", 1 << 20, cut},
		{"of a known length", document, "1.1", 3 << 20, cut},
		{"held back to be rewritten", short, "1.1", 1 << 10, told},
		{"HTTP/1.0 beyond 1 MB", list, "1.0", 1300 << 10, cut},
	} {
		t.Run(c.name, func(t *testing.T) {
			h.sim.ClearFaults()
			h.fault(simulator.Fault{Upstream: "provider:nsso", Kind: simulator.FaultTruncate, Bytes: c.after})
			who := h.dial("")
			who.write("GET " + c.path + " HTTP/" + c.proto + "\r\nHost: localhost\r\n\r\n")
			got, err := who.tryRead("GET")
			switch {
			case c.how == told:
				if got.status != 502 || err != nil || !strings.Contains(got.header.Get("Proxy-Status"),
					"error=http_response_incomplete") {
					t.Errorf("%d %v %v", got.status, got.header, err)
				}
			case err == nil:
				t.Errorf("a cut answer looks whole: %d %v, %d bytes", got.status, got.header, len(got.body))
			case got.status != 200:
				t.Errorf("%d %v: %v", got.status, got.header, err)
			}
		})
	}
	t.Run("HTTP/2", func(t *testing.T) {
		transport := &http.Transport{Protocols: new(http.Protocols)}
		transport.Protocols.SetUnencryptedHTTP2(true)
		defer transport.CloseIdleConnections()
		for _, path := range []string{list, document} {
			h.sim.ClearFaults()
			h.fault(simulator.Fault{Upstream: "provider:nsso", Kind: simulator.FaultTruncate, Bytes: 1 << 20})
			resp, err := (&http.Client{Transport: transport}).Get(h.Base + path)
			testkit.Must(t, err)
			if n, err := io.Copy(io.Discard, resp.Body); err == nil {
				t.Errorf("%s: %d bytes look whole", path, n)
			}
			resp.Body.Close()
		}
	})
	eventually(t, "an access line that says so", func() bool { return strings.Contains(h.access.String(), `"cut":true`) })
}

func TestACallerThatGoesAwayEndsTheCallUpstream(t *testing.T) {
	t.Parallel()
	h := open(t)
	done := func() bool {
		all := h.sim.RequestsTo("provider:nsso")
		return len(all) == 1 && all[0].Done
	}
	for _, c := range []struct{ name, request string }{
		{"while waiting", "GET " + messages + " HTTP/1.1\r\nHost: localhost\r\n\r\n"},
		{"within a download", "GET " + large + "5/content HTTP/1.1\r\nHost: localhost\r\n\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h.sim.ResetRequests()
			if c.name == "while waiting" {
				h.fault(frozen(nsso))
				defer h.sim.ClearFaults()
			}
			who := h.dial("")
			who.write(c.request)
			eventually(t, "the call upstream", func() bool { return h.sim.RequestCount("provider:nsso") == 1 })
			if done() {
				t.Fatal("the upstream does not wait")
			}
			_ = who.conn.Close()
			eventually(t, "the end of the call upstream", done)
		})
	}
}

// A caller that announced a body, which no handler reads, and sent none was waited for without end.
func TestABodyThatNobodyReadsHoldsNoConnection(t *testing.T) {
	t.Parallel()
	h := open(t, edit("server: {", "server: {limits: {bodyIdleTimeout: 300ms}, "))
	for request, base := range map[string]string{
		"OPTIONS /ebox/providers": h.Base, "GET " + box: h.Base, "POST /configuration/confirm?hash=x": h.Admin,
	} {
		for _, body := range []string{"Content-Length: 1000\r\n\r\nx", "Transfer-Encoding: chunked\r\n\r\n5\r\nab",
			"Expect: 100-continue\r\nContent-Length: 1000\r\n\r\n"} {
			t.Run(request, func(t *testing.T) {
				t.Parallel()
				conn, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
				testkit.Must(t, err)
				defer conn.Close()
				fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: localhost\r\n%s", request, body)
				_ = conn.SetReadDeadline(time.Now().Add(patience))
				if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
					t.Error("it is waited for without end")
				}
			})
		}
	}
}
