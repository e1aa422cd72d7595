package wire_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"ebox-gateway/internal/wire"
)

// scripted is a connection whose other side has said everything already.
type scripted struct {
	net.Conn
	io.Reader
}

func (s scripted) Read(p []byte) (int, error)       { return s.Reader.Read(p) }
func (s scripted) Write(p []byte) (int, error)      { return len(p), nil }
func (s scripted) Close() error                     { return nil }
func (s scripted) SetDeadline(time.Time) error      { return nil }
func (s scripted) SetReadDeadline(time.Time) error  { return nil }
func (s scripted) SetWriteDeadline(time.Time) error { return nil }

// readAnswer has text read by a Transport, as the answer to a GET.
func readAnswer(text []byte) (a *http.Response, body []byte, err error) {
	tr := wire.New(wire.Config{
		Dial: func(context.Context, string, string) (net.Conn, error) {
			return wire.NewSocket(scripted{Reader: bytes.NewReader(text)}, time.Minute), nil
		},
		Header: time.Minute, IdleConn: time.Minute, Age: func() time.Duration { return time.Minute },
	})
	defer tr.CloseIdleConnections()
	if a, err = tr.Do(context.Background(), httptest.NewRequest("GET", "http://up/", nil), wire.Options{}); err != nil {
		return nil, nil, err
	}
	defer a.Body.Close()
	body, err = io.ReadAll(a.Body)
	return a, body, err
}

// readReference reads as net/http's client does.
func readReference(text []byte) (a *http.Response, body []byte, err error) {
	r := bufio.NewReader(bytes.NewReader(unblanked(text)))
	for {
		if a, err = http.ReadResponse(r, httptest.NewRequest("GET", "http://up/", nil)); err != nil {
			return nil, nil, err
		}
		if a.StatusCode >= 200 || a.StatusCode == http.StatusSwitchingProtocols {
			break
		}
	}
	defer a.Body.Close()
	body, err = io.ReadAll(a.Body)
	return a, body, err
}

var headEnd = regexp.MustCompile("\n\r?\n")

var blankBeforeColon = regexp.MustCompile("(?m)^([!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \\t]+:")

// unblanked removes the blanks before the colons of heads, as RFC 9112, section 5.1, has proxies do. net/http takes
// them for a part of the name, and the field is lost.
func unblanked(text []byte) (out []byte) {
	for interim := true; interim; {
		end := 0
		if found := headEnd.FindIndex(text); found != nil {
			end = found[1]
		}
		interim = end > 0 && bytes.HasPrefix(text, []byte("HTTP/1.1 1"))
		out = append(out, blankBeforeColon.ReplaceAll(text[:end], []byte("$1:"))...)
		text = text[end:]
	}
	return append(out, text...)
}

// refusals are the texts of the errors with which we refuse what net/http takes.
var refusals = map[string]string{
	errSwitching:  "nobody asked for another protocol",
	errInterim:    "a flood of interim answers would cost a core",
	errStatus:     "RFC 9112, section 4: three digits, from 100, in HTTP/1",
	errStartLine:  "a control character or nothing in the status line",
	errNoColon:    "net/http takes a field line of blanks before the empty line for nothing",
	errFirstFold:  "RFC 9112, section 2.2: blanks before the first field",
	errFieldName:  "RFC 9110, section 5.1: a name is a token",
	errFieldValue: "RFC 9110, section 5.5: control characters, a bare CR (RFC 9112, section 2.2) and NUL among them",
	errFieldCount: "Limits", errLineSize: "Limits", errHeadSize: "Limits", errStartSize: "Limits",
	errLength:    "RFC 9112, section 6.3: net/http ignores Content-Length beside chunked, and takes more digits",
	errTE10:      "RFC 9112, section 6.1: Transfer-Encoding in HTTP/1.0 is faulty framing; net/http ignores it",
	errCoding:    "RFC 9112, section 6.1: a coding that is not chunked alone; net/http ignores some",
	errChunkSize: "RFC 9112, section 7.1: only CR LF ends a chunk's line, and blanks do not",
	errChunkEnd:  "RFC 9112, section 7.1: only CR LF ends a chunk's data, and the section of trailers",
	errChunkLine: "extensions that are longer than the data",
}

// repairs are what we take and net/http refuses, by the beginning of its error.
var repairs = map[string]string{
	"bad Content-Length": "equal lengths in a list (RFC 9112, section 6.3)",
	"http: message cannot contain multiple Content-Length": "equal lengths, written otherwise",
	"bad trailer key": "a Trailer field that names what must not trail is not passed on",
}

// Where we accept an answer, net/http accepts it too and both read the same status, fields, body and trailers, or
// repairs says why it does not. Where net/http accepts one and we do not, refusals says why.
func FuzzAnswersAreReadAsNetHTTPReadsThem(f *testing.F) {
	f.Fuzz(func(t *testing.T, text []byte) {
		ours, body, err := readAnswer(text)
		theirs, theirBody, theirErr := readReference(text)
		switch {
		case err != nil && theirErr != nil:
		case err != nil:
			var syntax *wire.SyntaxError
			if !errors.As(err, &syntax) || refusals[syntax.Error()] == "" {
				t.Fatalf("only we refuse it: %v", err)
			}
		case theirErr != nil:
			for beginning := range repairs {
				if strings.HasPrefix(theirErr.Error(), beginning) {
					return
				}
			}
			t.Fatalf("only net/http refuses it: %v", theirErr)
		default:
			if ours.StatusCode != theirs.StatusCode || !bytes.Equal(body, theirBody) {
				t.Fatalf("we read %d %q, net/http %d %q", ours.StatusCode, body, theirs.StatusCode, theirBody)
			}
			theirs.Header.Del("Trailer") // we pass none on where nothing can trail
			if _, given := ours.Header["Cache-Control"]; !given && theirs.Header.Get("Pragma") == "no-cache" {
				theirs.Header.Del("Cache-Control") // net/http's reading of Pragma
			}
			if a, b := lines(ours.Header), lines(theirs.Header); !slices.Equal(a, b) {
				t.Fatalf("we read the fields %q, net/http %q", a, b)
			}
			for name := range theirs.Trailer {
				if !wire.MayTrail(name) {
					delete(theirs.Trailer, name)
				}
			}
			if a, b := lines(ours.Trailer), lines(theirs.Trailer); !slices.Equal(a, b) {
				t.Fatalf("we read the trailers %q, net/http %q", a, b)
			}
		}
	})
}

// lines gives fields in one order, and without the blanks that a folded value and a blank before a colon leave.
func lines(h http.Header) []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(h)) {
		for _, v := range h[name] {
			out = append(out, http.CanonicalHeaderKey(strings.Trim(name, " \t"))+": "+strings.Join(strings.Fields(v), " "))
		}
	}
	slices.Sort(out)
	return out
}
