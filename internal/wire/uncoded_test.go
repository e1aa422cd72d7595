package wire_test

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"ebox-gateway/internal/testkit"
	"ebox-gateway/internal/wire"
)

// coded writes text through what a compressing writer makes.
func coded(t *testing.T, text string, to func(io.Writer) io.WriteCloser) string {
	t.Helper()
	var b bytes.Buffer
	w := to(&b)
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	testkit.Must(t, w.Close())
	return b.String()
}

func gzipped(t *testing.T, text string) string {
	return coded(t, text, func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) })
}

func TestCodingsThatAreNone(t *testing.T) {
	for _, c := range []struct {
		fields []string
		want   string
	}{
		{nil, ""}, {[]string{""}, ""}, {[]string{"identity"}, ""}, {[]string{"None"}, ""}, {[]string{"UTF-8"}, ""}, {
			[]string{"iso-8859-1"}, ""},
		{[]string{"windows-1252"}, ""}, {[]string{"identity, utf-8"}, ""},
		{[]string{"GZIP"}, "gzip"}, {[]string{"x-gzip"}, "gzip"}, {[]string{"identity, gzip"}, "gzip"}, {
			[]string{"deflate"}, "deflate"},
		{[]string{"gzip, br"}, "gzip,br"}, {[]string{"gzip", "gzip"}, "gzip,gzip"}, {[]string{"br"}, "br"}, {
			[]string{"zstd"}, "zstd"},
	} {
		if got := wire.Coded(http.Header{"Content-Encoding": c.fields}); got != c.want {
			t.Errorf("%q: %q, want %q", c.fields, got, c.want)
		}
	}
}

func TestCodingsAreUndone(t *testing.T) {
	const text = `{"next":"/messages?page=2"}`
	for _, c := range []struct{ name, coding, body string }{
		{"no coding", "", text},
		{"a byte order mark", "", "\ufeff" + text},
		{"a character set", "utf-8", text},
		{"gzip", "gzip", gzipped(t, text)},
		{"gzip in two members", "x-gzip", gzipped(t, text[:5]) + gzipped(t, text[5:])},
		{"deflate", "deflate", coded(t, text, func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) })},
		{"deflate without its frame", "deflate", coded(t, text, func(w io.Writer) io.WriteCloser {
			f, err := flate.NewWriter(w, flate.DefaultCompression)
			testkit.Must(t, err)
			return f
		})},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := wire.Uncoded(http.Header{"Content-Encoding": {c.coding}}, strings.NewReader(c.body), 100)
			if err != nil || string(got) != text {
				t.Errorf("%q %v", got, err)
			}
			if got, err := wire.Uncoded(http.Header{"Content-Encoding": {c.coding}}, strings.NewReader(c.body[:len(c.body)-9]),
				100); c.coding != "" && c.coding != "utf-8" && err == nil {
				t.Errorf("cut short, but %q", got)
			}
		})
	}
	for coding, body := range map[string]string{
		"br": text, "zstd": text, "gzip, gzip": gzipped(t, gzipped(t, text)), "gzip": text, "deflate": "", "compress": text,
	} {
		if got, err := wire.Uncoded(http.Header{"Content-Encoding": {coding}}, strings.NewReader(body), 100); err == nil ||
			strings.Contains(err.Error(), text) {
			t.Errorf("%s: %q %v", coding, got, err)
		}
	}
}

func TestALimitHoldsForTheUncodedBytes(t *testing.T) {
	h := http.Header{"Content-Encoding": {"gzip"}}
	bomb := gzipped(t, strings.Repeat("a", 1<<20))
	if _, err := wire.Uncoded(h, strings.NewReader(bomb), 1<<20-1); !errors.Is(err, wire.ErrTooLong) {
		t.Errorf("%v", err)
	}
	if got, err := wire.Uncoded(h, strings.NewReader(bomb), 1<<20); err != nil || len(got) != 1<<20 {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}
