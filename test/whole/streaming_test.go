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

// Other cuts, and what is told of them while it still can be, are in package proxy.
func TestACutAnswerIsNeverEndedAsIfWhole(t *testing.T) {
	t.Parallel()
	h := open(t)
	for range 100 { // with 40 attachments each their list is 1.6 MB
		if _, err := h.sim.AddMessage("nsso", 206731645, simulator.Draft{Sizes: make([]int64, 40)}); err != nil {
			t.Fatal(err)
		}
	}
	const list, written = messages + "?pageSize=100", "GET " + messages + "?pageSize=100 HTTP/%s\r\nHost: localhost\r\n\r\n"
	h.fault(simulator.Fault{Upstream: "provider:nsso", Kind: simulator.FaultTruncate, Bytes: 1300 << 10})
	for _, version := range []string{"1.1", "1.0"} { // for which an answer is held back up to 1 MB
		who := h.dial("")
		who.write(fmt.Sprintf(written, version))
		if got, err := who.tryRead("GET"); err == nil || got.status != 200 {
			t.Errorf("HTTP/%s: %d, %d bytes look whole: %v", version, got.status, len(got.body), err)
		}
	}
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer transport.CloseIdleConnections()
	for _, path := range []string{list, large + "4/content"} {
		resp, err := (&http.Client{Transport: transport}).Get(h.Base + path)
		testkit.Must(t, err)
		if n, err := io.Copy(io.Discard, resp.Body); err == nil {
			t.Errorf("HTTP/2 %s: %d bytes look whole", path, n)
		}
		resp.Body.Close()
	}
	eventually(t, "an access line that says so", func() bool { return strings.Contains(h.access.String(), `"cut":true`) })
}

func TestACallerThatGoesAwayEndsTheCallUpstream(t *testing.T) {
	t.Parallel()
	h := open(t)
	who := h.dial("")
	who.write("GET " + large + "5/content HTTP/1.1\r\nHost: localhost\r\n\r\n")
	eventually(t, "the call upstream", func() bool { return h.sim.RequestCount("provider:nsso") == 1 })
	if h.last("provider:nsso").Done {
		t.Fatal("the upstream does not wait")
	}
	_ = who.conn.Close()
	eventually(t, "the end of the call upstream", func() bool { return h.last("provider:nsso").Done })
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
