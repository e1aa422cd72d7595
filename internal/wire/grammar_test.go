package wire_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"ebox-gateway/internal/wire"
)

var answerLimits = wire.Limits{Bytes: 64 << 10, Line: 32 << 10, Fields: 256}

// What is said of messages that are refused.
const (
	errBlank      = "there is a blank between a field name and its colon"
	errChunkEnd   = "a chunk does not end where its size says"
	errChunkLine  = "too much chunk extension"
	errChunkSize  = "malformed chunk size"
	errCoding     = "a transfer coding other than chunked"
	errFieldCount = "the head has too many fields"
	errFieldName  = "malformed field name"
	errFieldValue = "a field value holds a control character"
	errFirstFold  = "the first field line begins with a blank"
	errFold       = "a field value is folded"
	errHeadSize   = "the head is too large"
	errInterim    = "too many interim answers"
	errLength     = "malformed Content-Length"
	errLineSize   = "a line of the head is too long"
	errNoColon    = "a field line has no colon"
	errStartLine  = "malformed start line"
	errStartSize  = "the start line is too long"
	errStatus     = "malformed status line"
	errSwitching  = "101, which nobody asked for"
	errTE10       = "Transfer-Encoding in an HTTP/1.0 message"
)

// said is the text of an error, "" if there is none.
func said(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestHeads(t *testing.T) {
	for name, c := range map[string]struct {
		text    string
		request bool
		want    http.Header
		err     string
	}{
		"fields in canonical form": {
			text: "S\r\ncontent-TYPE: a\r\nX-B:b\r\n\r\n", want: http.Header{"Content-Type": {"a"}, "X-B": {"b"}}},
		"repeated fields keep their order": {
			text: "S\r\nA: 1\r\nB: x\r\na: 2\r\nA:\r\n\r\n", want: http.Header{"A": {"1", "2", ""}, "B": {"x"}}},
		"no fields":             {text: "S\r\n\r\n", want: http.Header{}},
		"bare LF":               {text: "S\nA: 1\n\n", want: http.Header{"A": {"1"}}},
		"blanks around a value": {text: "S\r\nA: \t 1 2 \t\r\n\r\n", want: http.Header{"A": {"1 2"}}},
		"bytes above ASCII":     {text: "S\r\nA: caf\xe9\r\n\r\n", want: http.Header{"A": {"caf\xe9"}}},
		"blank before the colon": {
			text: "S\r\nCache-Control \t: no-store\r\n\r\n", want: http.Header{"Cache-Control": {"no-store"}}},
		"blank before a request's colon": {text: "S\r\nA : 1\r\n\r\n", request: true, err: errBlank},
		"folded value": {
			text: "S\r\nA: 1\r\n  2\r\n\t3\r\nB: 4\r\n\r\n", want: http.Header{"A": {"1 2 3"}, "B": {"4"}}},
		"folded value of a second field":    {text: "S\r\nA: 1\r\nA: 2\r\n 3\r\n\r\n", want: http.Header{"A": {"1", "2 3"}}},
		"fold of nothing but blanks":        {text: "S\r\nA: 1\r\n  \r\n\r\n", want: http.Header{"A": {"1"}}},
		"folded value of a request":         {text: "S\r\nA: 1\r\n 2\r\n\r\n", request: true, err: errFold},
		"first line is folded":              {text: "S\r\n A: 1\r\n\r\n", err: errFirstFold},
		"empty lines before a request":      {text: "\r\n\nS\r\nA: 1\r\n\r\n", request: true, want: http.Header{"A": {"1"}}},
		"empty line before an answer":       {text: "\r\nS\r\nA: 1\r\n\r\n", err: errStartLine},
		"no colon":                          {text: "S\r\nabc\r\n\r\n", err: errNoColon},
		"empty name":                        {text: "S\r\n: 1\r\n\r\n", err: errFieldName},
		"blank inside a name":               {text: "S\r\nA B: 1\r\n\r\n", err: errFieldName},
		"NUL in a value":                    {text: "S\r\nA: 1\x002\r\n\r\n", err: errFieldValue},
		"CR in a value":                     {text: "S\r\nA: 1\r2\r\n\r\n", err: errFieldValue},
		"CR in a fold":                      {text: "S\r\nA: 1\r\n \r2\r\n\r\n", err: errFieldValue},
		"DEL in a value":                    {text: "S\r\nA: \x7f\r\n\r\n", err: errFieldValue},
		"control character in a start line": {text: "S\x02\r\nA: 1\r\n\r\n", err: errStartLine},
		"CR in a start line":                {text: "S\rB: 1\r\n\r\n", err: errStartLine},
		"too many fields":                   {text: "S\r\n" + strings.Repeat("A: 1\r\n", 257) + "\r\n", err: errFieldCount},
		"as many fields as may be": {
			text: "S\r\nB: 1\r\n" + strings.Repeat("A: 1\r\n", 255) + "\r\n",
			want: http.Header{"B": {"1"}, "A": slices.Repeat([]string{"1"}, 255)}},
		"a line that is too long":       {text: "S\r\nA: " + strings.Repeat("x", 33<<10) + "\r\n\r\n", err: errLineSize},
		"a start line that is too long": {text: strings.Repeat("x", 33<<10) + "\r\n\r\n", err: errStartSize},
		"a head that is too large": {
			text: "S\r\n" + strings.Repeat("A: "+strings.Repeat("x", 997)+"\r\n", 66) + "\r\n", err: errHeadSize},
		"a head that never ends": {
			text: "S\r\n" + strings.Repeat("A: "+strings.Repeat("x", 997)+"\r\n", 66), err: errHeadSize},
		"a head larger than the buffer": {
			text: "S\r\nA: " + strings.Repeat("x", 20<<10) + "\r\n\r\n", want: http.Header{"A": {strings.Repeat("x", 20<<10)}}},
		"nothing":                            {err: "EOF"},
		"an end in the head":                 {text: "S\r\nA: 1\r\n", err: "unexpected EOF"},
		"an end inside the empty line":       {text: "S\r\nA: 1\r\n\r", err: "unexpected EOF"},
		"a request that is only empty lines": {text: "\r\n\r\n", request: true, err: "EOF"},
	} {
		l := answerLimits
		l.Request = c.request
		for how, src := range map[string]io.Reader{
			"at once": strings.NewReader(c.text), "byte by byte": iotest.OneByteReader(strings.NewReader(c.text)),
		} {
			r := wire.NewReader(src, nil)
			start, h, err := r.Head(l)
			if said(err) != c.err || err == nil && (start != "S" || !reflect.DeepEqual(h, c.want)) {
				t.Errorf("%s, %s: %q %v, error %v; want %v, error %q", name, how, start, h, err, c.want, c.err)
			}
		}
	}
}

func TestFraming(t *testing.T) {
	const length, coding = "Content-Length", "Transfer-Encoding"
	twelve := wire.Framing{Length: 12}
	for name, c := range map[string]struct {
		in     http.Header
		http10 bool
		want   wire.Framing // zero: an error
		out    string       // Content-Length
	}{
		"nothing":                    {in: http.Header{}, want: wire.Framing{Length: wire.Undeclared}},
		"a length":                   {in: http.Header{length: {"12"}}, want: twelve, out: "12"},
		"equal lengths in a list":    {in: http.Header{length: {"12 , 12"}}, want: twelve, out: "12"},
		"equal lengths in lines":     {in: http.Header{length: {"12", "12"}}, want: twelve, out: "12"},
		"equal, written otherwise":   {in: http.Header{length: {"12", "012"}}, want: twelve, out: "12"},
		"different lengths":          {in: http.Header{length: {"12", "13"}}},
		"different in a list":        {in: http.Header{length: {"12,13"}}},
		"a sign":                     {in: http.Header{length: {"+12"}}},
		"a negative length":          {in: http.Header{length: {"-1"}}},
		"an empty length":            {in: http.Header{length: {""}}},
		"an empty member":            {in: http.Header{length: {"12,"}}},
		"a hexadecimal length":       {in: http.Header{length: {"0x10"}}},
		"a length with an underline": {in: http.Header{length: {"1_0"}}},
		"a length beyond 63 bits":    {in: http.Header{length: {"9999999999999999999"}}},
		"chunked":                    {in: http.Header{coding: {"Chunked"}}, want: wire.Framing{Length: wire.Chunked}},
		"chunked and a length": {
			in: http.Header{coding: {"chunked"}, length: {"3"}}, want: wire.Framing{Length: wire.Chunked, Close: true}},
		"chunked twice":           {in: http.Header{coding: {"chunked", "chunked"}}},
		"chunked twice in a list": {in: http.Header{coding: {"chunked, chunked"}}},
		"another coding":          {in: http.Header{coding: {"gzip, chunked"}}},
		"identity":                {in: http.Header{coding: {"identity"}}},
		"chunked with a letter of another script": {in: http.Header{coding: {"chun\u212aed"}}},
		"chunked in HTTP/1.0":                     {in: http.Header{coding: {"chunked"}}, http10: true},
	} {
		f, err := wire.ParseFraming(c.in, c.http10)
		out := strings.Join(c.in[length], "|")
		if (err == nil) != (c.want != wire.Framing{}) || err == nil && (f != c.want || out != c.out || c.in[coding] != nil) {
			t.Errorf("%s: %+v %v, %v", name, f, c.in, err)
		}
	}
}

func TestChunkedBodies(t *testing.T) {
	for name, c := range map[string]struct {
		text, want, rest string
		trailer          http.Header
		err              string
	}{
		"chunks": {
			text: "3\r\nabc\r\n0A\r\n0123456789\r\n0\r\n\r\nrest", want: "abc0123456789", rest: "rest"},
		"nothing":             {text: "0\r\n\r\n"},
		"extensions":          {text: "3;a=\"b\"\r\nabc\r\n3 ; c\r\ndef\r\n0;d\r\n\r\n", want: "abcdef"},
		"blanks after a size": {text: "3 \t\r\nabc\r\n0\r\n\r\n", want: "abc"},
		"a trailer section": {
			text: "1\r\na\r\n0\r\nX-Sum: 1\r\nx-more: 2\r\n\r\nrest", want: "a", rest: "rest",
			trailer: http.Header{"X-Sum": {"1"}, "X-More": {"2"}}},
		"fields that must not trail": {
			text:    "0\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\nAuthorization: x\r\nX: y\r\n\r\n",
			trailer: http.Header{"X": {"y"}}},
		"a trailer that is none": {text: "0\r\nnocolon\r\n\r\n", err: errNoColon},
		"a trailer that never ends": {
			text: "0\r\n" + strings.Repeat("A: "+strings.Repeat("x", 1000)+"\r\n", 17), err: errHeadSize},
		"a size that is no number":           {text: "zz\r\nabc\r\n", err: errChunkSize},
		"an empty size":                      {text: "\r\nabc\r\n", err: errChunkSize},
		"a size with a sign":                 {text: "+3\r\nabc\r\n", err: errChunkSize},
		"a size in the way of programs":      {text: "0x3\r\nabc\r\n", err: errChunkSize},
		"a size of zeros":                    {text: "0000000000000003\r\nabc\r\n0\r\n\r\n", err: errChunkSize},
		"a size that overflows":              {text: "10000000000000003\r\nabc\r\n", err: errChunkSize},
		"a size that is negative if wrapped": {text: "fffffffffffffffe\r\nabc\r\n", err: errChunkSize},
		"a bare LF after a size":             {text: "3\nabc\r\n0\r\n\r\n", err: errChunkSize},
		"a bare LF after the last size":      {text: "0\n\n", err: errChunkSize},
		"a bare LF after data":               {text: "3\r\nabc\n0\r\n\r\n", err: errChunkEnd},
		"a CR in an extension":               {text: "3;a\rb\r\nabc\r\n0\r\n\r\n", err: errChunkSize},
		"a bare LF at the end":               {text: "0\r\n\n", err: errChunkEnd},
		"a bare LF after the trailers":       {text: "0\r\nA: b\r\n\n", err: errChunkEnd},
		"data longer than its size":          {text: "3\r\nabcd\r\n0\r\n\r\n", err: errChunkEnd},
		"data shorter than its size":         {text: "4\r\nabc\r\n0\r\n\r\n", err: errChunkEnd},
		"an end in the data":                 {text: "4\r\nabc", err: "unexpected EOF"},
		"an end before the empty line":       {text: "0\r\n", err: "unexpected EOF"},
		"a line of extensions without end":   {text: "3;" + strings.Repeat("x", 5000), err: errChunkLine},
		"extensions around every byte": {
			text: strings.Repeat("1;"+strings.Repeat("x", 1000)+"\r\na\r\n", 30), err: errChunkLine},
	} {
		for how, src := range map[string]io.Reader{
			"at once": strings.NewReader(c.text), "byte by byte": iotest.OneByteReader(strings.NewReader(c.text)),
		} {
			r := wire.NewReader(src, nil)
			chunks := wire.NewBody(r, wire.Chunked)
			body, err := io.ReadAll(&chunks)
			if said(err) != c.err {
				t.Errorf("%s, %s: error %v, want %q", name, how, err, c.err)
			}
			if err != nil {
				continue
			}
			rest, _ := io.ReadAll(r)
			if string(body) != c.want || string(rest) != c.rest || !reflect.DeepEqual(chunks.Trailer(nil), c.trailer) {
				t.Errorf("%s, %s: %q, then %q, trailer %v", name, how, body, rest, chunks.Trailer(nil))
			}
		}
	}
}

// The end of a body that is already there comes with the last bytes: nobody has to ask once more.
func TestTheEndComesWithTheLastBytes(t *testing.T) {
	chunks := wire.NewBody(wire.NewReader(strings.NewReader("3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"), nil), wire.Chunked)
	p := make([]byte, 5)
	if n, err := chunks.Read(p); n != 5 || err != io.EOF {
		t.Errorf("%d, %v", n, err)
	}
}

func TestATokenIsFoundInWhateverCase(t *testing.T) {
	for list, want := range map[string]bool{
		"": false, "Close": true, "keep-alive, \tclose": true, "closed": false, "close;q=1": false, "x close": false,
	} {
		if got := wire.HasToken([]string{"x", list}, "close"); got != want {
			t.Errorf("%q: %v", list, got)
		}
	}
}

func TestListsAreReadWhole(t *testing.T) {
	for _, c := range []struct {
		values            []string
		elements, members string
	}{
		{nil, "", ""},
		{[]string{"a, b", " ,\tc ,,"}, "a|b|c", "a|b|c"},
		{[]string{`a="1, 2", b`}, `a="1|2"|b`, `a="1, 2"|b`},
		{[]string{`a="\", b", c`}, `a="\"|b"|c`, `a="\", b"|c`},
		{[]string{`"a, b, c`, "d"}, `"a|b|c|d`, `"a|b|c|d`}, // not closed
		{[]string{`"a\", "b", c`}, `"a\"|"b"|c`, `"a\", "b"|c`},
		{[]string{`a, "\`}, `a|"\`, `a|"\`},
	} {
		if got := strings.Join(slices.Collect(wire.Elements(c.values)), "|"); got != c.elements {
			t.Errorf("%q: elements %s", c.values, got)
		}
		if got := strings.Join(slices.Collect(wire.Members(c.values)), "|"); got != c.members {
			t.Errorf("%q: members %s", c.values, got)
		}
	}
}

func TestFieldsThatWouldSplitAMessageAreNotWritten(t *testing.T) {
	for _, f := range [][2]string{
		{"A", "1\r\nB: 2"}, {"A", "1\n"}, {"A", "\x00"}, {"A\r\nB", "1"}, {"A:", "1"}, {"", "1"}, {"A B", "1"},
	} {
		if b, err := wire.AppendField(nil, f[0], f[1]); err == nil {
			t.Errorf("%q was written as %q", f, b)
		}
	}
	if b, err := wire.AppendField(nil, "A", " 1\t2 "); string(b) != "A: 1\t2\r\n" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
}

func FuzzChunked(f *testing.F) {
	for _, s := range []string{"3\r\nabc\r\n0\r\n\r\n", "0\r\nA: b\r\n\r\n", "3;x\r\nabc\r\n00\r\n\r\nrest",
		"fffffffffffffff\r\n"} {
		f.Add([]byte(s), uint8(3))
	}
	f.Fuzz(func(t *testing.T, text []byte, size uint8) {
		whole := wire.NewReader(bytes.NewReader(text), nil)
		split := wire.NewReader(iotest.OneByteReader(bytes.NewReader(text)), nil)
		a, b := wire.NewBody(whole, wire.Chunked), wire.NewBody(split, wire.Chunked)
		one, errOne := io.ReadAll(&a)
		var two []byte
		var errTwo error
		for p := make([]byte, int(size)+1); errTwo == nil; {
			var n int
			n, errTwo = b.Read(p)
			two = append(two, p[:n]...)
		}
		if errTwo == io.EOF {
			errTwo = nil
		}
		if !bytes.Equal(one, two) || !errors.Is(errOne, errTwo) || !reflect.DeepEqual(a.Trailer(nil), b.Trailer(nil)) {
			t.Fatalf("read at once %q, %v; byte by byte %q, %v", one, errOne, two, errTwo)
		}
	})
}
