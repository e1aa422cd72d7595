package whole_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"ebox-gateway/internal/simulator"
)

const shortPatience = "server: {limits: {bodyIdleTimeout: 300ms}, "

// What no handler reads, the server does, before the answer's header leaves: a caller
// that announced a body and sent none was waited for without end.
func TestABodyThatNobodyReadsHoldsNoConnection(t *testing.T) {
	t.Parallel()
	h := open(t, edit("server: {", shortPatience))
	for _, c := range []struct{ base, request string }{
		{h.base, "OPTIONS /ebox/providers"},
		{h.base, "GET " + box},
		{h.adm, "GET /status"},
		{h.adm, "POST /configuration/confirm?hash=x"},
	} {
		for _, body := range []string{"Content-Length: 1000\r\n\r\nx", "Transfer-Encoding: chunked\r\n\r\n5\r\nab",
			"Expect: 100-continue\r\nContent-Length: 1000\r\n\r\n"} {
			t.Run(c.request, func(t *testing.T) {
				t.Parallel()
				conn, err := net.Dial("tcp", strings.TrimPrefix(c.base, "http://"))
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: localhost\r\n%s", c.request, body)
				isEnded(t, conn, "a body that nobody reads")
			})
		}
	}
}

// The window of a stream is the caller's to open. One that never does held the answer
// and the request upstream for ever, though its connection was alive.
func TestAStreamWhoseWindowStaysShutIsEnded(t *testing.T) {
	t.Parallel()
	h := open(t, edit("server: {", shortPatience))
	id, err := h.sim.AddMessage("nsso", 206731645, largeDraft())
	if err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{
		"a document":                        messages + "/" + id + "/attachments/1/content",
		"an answer that fits into a buffer": box,
		"an answer of the gateway's":        "/nothing",
	} {
		t.Run(name, func(t *testing.T) {
			conn := h.dial("").conn
			fmt.Fprint(conn, http2.ClientPreface)
			framer := http2.NewFramer(conn, conn)
			if err := framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}); err != nil {
				t.Fatal(err)
			}
			var block bytes.Buffer
			encoder := hpack.NewEncoder(&block)
			for _, f := range [][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", "localhost"},
				{":path", path}} {
				_ = encoder.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}) // into memory
			}
			if err := framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true,
				EndStream: true}); err != nil {
				t.Fatal(err)
			}
			for {
				frame, err := framer.ReadFrame()
				if err != nil {
					t.Fatalf("waiting for the end of the stream: %v", err)
				}
				switch f := frame.(type) {
				case *http2.SettingsFrame:
					if !f.IsAck() {
						_ = framer.WriteSettingsAck() // the next read tells of an error
					}
				case *http2.DataFrame:
					t.Fatalf("%d bytes came through a window that is shut", len(f.Data()))
				case *http2.RSTStreamFrame:
					return
				}
			}
		})
	}
	eventually(t, "the end of the request upstream", func() bool {
		for _, r := range h.sim.RequestsTo("provider:nsso") {
			if r.Opening && r.Done {
				return true
			}
		}
		return false
	})
}

// isEnded waits until the gateway closes the connection.
func isEnded(t *testing.T, conn net.Conn, what string) {
	t.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.Copy(io.Discard, conn); err != nil && strings.Contains(err.Error(), "timeout") {
		t.Errorf("%s is waited for without end", what)
	}
}

// largeDraft is a message whose document is larger than what sockets hold.
func largeDraft() simulator.Draft { return simulator.Draft{Sizes: []int64{32 << 20}} }
