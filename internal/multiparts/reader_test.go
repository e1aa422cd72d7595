package multiparts_test

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"ebox-gateway/internal/memory"
	"ebox-gateway/internal/multiparts"
	"ebox-gateway/internal/problem"
	"ebox-gateway/internal/testkit"
)

const boundary = "Qv8sT2"

// shown are the parts that were looked at, as name=content.
type shown []string

func (s *shown) look(p multiparts.Part) error {
	*s = append(*s, p.Name+"="+string(p.Content))
	return nil
}

func reading(body io.Reader, account *memory.Account, look func(multiparts.Part) error) *multiparts.Reader {
	return multiparts.New(multiparts.Options{
		Body: body, Boundary: boundary, Most: 1 << 20, Reads: func(name string) bool { return name == "message" },
		Memory: account, Look: look,
	})
}

// lines joins the lines of a body with CRLF. Their boundary is written as --.
func lines(l ...string) string {
	for i := range l {
		if rest, ok := strings.CutPrefix(l[i], "--"); ok {
			l[i] = "--" + boundary + rest
		}
	}
	return strings.Join(l, "\r\n")
}

const (
	named = `Content-Disposition: form-data; name="message"`
	file  = `Content-Disposition: form-data; name="f"; filename="a.pdf"`
	json  = "Content-Type: application/json"
	pdf   = "Content-Type: application/pdf"
)

func status(err error) int {
	var p *problem.Problem
	if errors.As(err, &p) {
		return p.Status
	}
	return 0
}

func TestBodiesThatAreCertainPassAsTheyAre(t *testing.T) {
	large := strings.Repeat("0123456789abcdef-\r\n-\r--Qv8s", 10_000)
	for name, c := range map[string]struct {
		body string
		want shown
	}{
		"a message and a file": {lines("--", named, json, "", `{"a":1}`, "--", file, pdf, "", "%PDF-"+large, "----", ""),
			shown{`message={"a":1}`}},
		"the file first": {lines("--", file, pdf, "", large, "--", named, json, "", `{"a":1}`, "----"),
			shown{`message={"a":1}`}},
		"no line end behind":     {lines("--", named, "", "1", "----"), shown{"message=1"}},
		"an empty line in front": {lines("", "--", named, "", "1", "----", ""), shown{"message=1"}},
		"an empty message":       {lines("--", named, "", "", "----", ""), shown{"message="}},
		"no header":              {lines("--", "", `{"a":1}`, "----", ""), shown{`={"a":1}`}},
		"no parts":               {lines("----", ""), nil},
		"JSON by its type":       {lines("--", file, "Content-Type: text/x+JSON", "", "x", "----"), shown{"f=x"}},
		"JSON by its beginning":  {lines("--", file, pdf, "", " \r\n [ {", "'", "----"), shown{"f= \r\n [ {\r\n'"}},
		"JSON behind much space": {lines("--", file, pdf, "", strings.Repeat(" ", 1e5)+"{}", "----"), shown{"f=" +
			strings.Repeat(" ", 1e5) + "{}"}},
		"JSON in UTF-16": {lines("--", file, pdf, "", "\xfe\xff\x00{\x00\"", "----"),
			shown{"f=\xfe\xff\x00{\x00\""}},
		"JSON behind an order mark": {lines("--", file, "", "\ufeff{}", "----"), shown{"f=\ufeff{}"}},
		"RTF, INI, a template": {lines("--", file, "", `{\rtf1}`, "--", file, "", "[a]", "--", file, "", "{{.}}",
			"----"), nil},
		"files of one name": {lines("--", file, pdf, "", "1", "--", file, pdf, "", "2", "----"), nil},
		"blanks alone":      {lines("--", file, pdf, "", " ", "----"), nil},
		"binary":            {lines("--", file, "Content-Transfer-Encoding: Binary", "", "x", "----"), nil},
		"an attachment by another charset": {lines("--", file, "Content-Type: text/csv; charset=windows-1252", "", "x",
			"----"),
			nil},
	} {
		for how, r := range map[string]io.Reader{
			"at once": strings.NewReader(c.body), "byte by byte": iotest.OneByteReader(strings.NewReader(c.body)),
			"with its end": iotest.DataErrReader(strings.NewReader(c.body)),
		} {
			t.Run(name+", "+how, func(t *testing.T) {
				var got shown
				p := reading(r, nil, got.look)
				testkit.Must(t, p.Lead())
				passed, err := io.ReadAll(p)
				if err != nil || string(passed) != c.body {
					t.Fatalf("%d bytes of %d went on: %v", len(passed), len(c.body), err)
				}
				if strings.Join(got, "|") != strings.Join(c.want, "|") {
					t.Errorf("looked at %.100q, want %.100q", got, c.want)
				}
			})
		}
	}
}

func TestBodiesThatAreAmbiguousAreRefused(t *testing.T) {
	for name, body := range map[string]string{
		"text in front":                  lines("hello", "--", named, "", "1", "----"),
		"two empty lines in front":       lines("", "", "--", named, "", "1", "----"),
		"text behind":                    lines("--", named, "", "1", "----", "more"),
		"a part behind":                  lines("--", named, "", "1", "----", "--", named, "", "2", "----"),
		"much space behind":              lines("--", named, "", "1", "----", strings.Repeat("\r\n", 50)),
		"no last boundary":               lines("--", named, "", "1", "--"),
		"no last boundary behind a file": lines("--", file, "", "1", ""),
		"an end within the header":       lines("--", named),
		"half a last boundary":           lines("--", named, "", "1", "---"),
		"nothing":                        "",
		"LF alone behind a boundary":     strings.Replace(lines("--", named, "", "1", "----"), boundary+"\r", boundary, 1),
		"LF alone in front of a boundary": strings.Replace(lines("--", file, "", "1", "--", named, "", "1", "----"),
			"1\r", "1", 1),
		"CR alone in front of a boundary": strings.Replace(lines("--", file, "", "1", "--", named, "", "1", "----"),
			"1\r\n", "1\r", 1),
		"LF alone in a header":              lines("--", named+"\nContent-Type: text/plain", "", "1", "----"),
		"CR in front of CRLF in a header":   lines("--", named+"\r", "", "1", "----"),
		"CR alone in a header":              lines("--", named+"\rContent-Type: text/plain", "", "1", "----"),
		"a boundary within a line":          lines("--", file, "", "x--Qv8sT2", "----"),
		"a boundary at once behind headers": lines("--", file, "", "--", named, "", "1", "----"),
		"a boundary in a header":            lines("--", named+"; x=--Qv8sT2", "", "1", "----"),
		"a longer boundary":                 lines("--", file, "", "1", "--x", named, "", "1", "----"),
		"blanks behind a boundary":          lines("-- ", named, "", "1", "----"),
		"blanks behind the last one":        lines("--", named, "", "1", "---- "),
		"a part that is multipart":          lines("--", "Content-Type: multipart/mixed; boundary=y", "", "--y", "----"),
		"a part in base64":                  lines("--", file, "Content-Transfer-Encoding: base64", "", "e30=", "----"),
		"a part in quoted-printable": lines("--", file, "Content-Transfer-Encoding: quoted-printable", "", "=7B}",
			"----"),
		"a part in gzip":          lines("--", file, "Content-Encoding: gzip", "", "x", "----"),
		"JSON in another charset": lines("--", named, json+"; charset=utf-16", "", "{}", "----"),
		"a file in UTF-7": lines("--", file, "Content-Type: text/plain; charset=utf-7", "", "+AHs-",
			"----"),
		"a type twice":        lines("--", file, pdf, json, "", "1", "----"),
		"a disposition twice": lines("--", file, named, "", "1", "----"),
		"a name twice":        lines("--", file+`; name="message"`, "", "1", "----"),
		"an extended name": lines("--", "Content-Disposition: form-data; name*=utf-8''message", "", "1",
			"----"),
		"an encoded name": lines("--", `Content-Disposition: form-data; name="=?utf-8?q?message?="`, "",
			"1", "----"),
		"a folded header": lines("--", "Content-Disposition: form-data;", ` name="message"`, "", "1",
			"----"),
		"no colon":                      lines("--", "hello", "", "1", "----"),
		"a blank before the colon":      lines("--", "Content-Type : application/json", "", "1", "----"),
		"a header of 8 KiB":             lines("--", "X: "+strings.Repeat("x", 8<<10), "", "1", "----"),
		"two messages":                  lines("--", named, "", "1", "--", named, "", "2", "----"),
		"two parts in JSON of one name": lines("--", file, json, "", "1", "--", file, json, "", "2", "----"),
	} {
		t.Run(name, func(t *testing.T) {
			var got shown
			p := reading(iotest.OneByteReader(strings.NewReader(body)), nil, got.look)
			passed, err := io.ReadAll(p)
			if status(err) != 400 {
				t.Errorf("%v; %q went on", err, passed)
			}
			if strings.HasSuffix(string(passed), "--"+boundary+"--") {
				t.Errorf("its last boundary went on")
			}
		})
	}
}

func TestOfAPartThatIsRefusedNothingGoesOn(t *testing.T) {
	refused := errors.New("refused")
	for _, body := range []string{
		lines("--", named, "", "secret", "----"),
		lines("--", file, pdf, "", "before", "--", file, pdf, "", "{}secret", "----"),
	} {
		p := reading(strings.NewReader(body), nil, func(multiparts.Part) error { return refused })
		passed, err := io.ReadAll(p)
		if !errors.Is(err, refused) || strings.Contains(string(passed), "secret") ||
			strings.Contains(body, "before") != strings.Contains(string(passed), "before") {
			t.Errorf("%q went on: %v", passed, err)
		}
		if _, err := p.Read(make([]byte, 1)); !errors.Is(err, refused) {
			t.Errorf("then %v", err)
		}
	}
}

func TestWhatPrecedesTheFirstFileIsReadAtOnce(t *testing.T) {
	body := lines("--", named, "", "1", "--", file, pdf, "", "") + "x"
	var got shown
	p := reading(io.MultiReader(strings.NewReader(body), iotest.ErrReader(errors.New("gone"))), nil, got.look)
	if err := p.Lead(); err != nil || len(got) != 1 {
		t.Fatalf("%v, %q", err, got)
	}
	if passed, err := io.ReadAll(p); err == nil || !strings.Contains(string(passed), "1") {
		t.Errorf("%q, %v", passed, err)
	}
}

// A file goes on with the little that every request may hold, JSON waits for room.
func TestWhatIsHeldBackIsBounded(t *testing.T) {
	value := strings.Repeat("1", 600_000)
	const plenty, none = 10 << 20, 1
	for name, c := range map[string]struct {
		body   string
		memory int64
		want   int
	}{
		"one part": {lines("--", named, "", value+value, "----"), plenty, 413},
		"blanks":   {lines("--", file, "", strings.Repeat(" ", 1_200_000), "----"), plenty, 413},
		"two":      {lines("--", named, "", value, "--", json, "", value, "----"), plenty, 413},
		"two with a file between": {lines("--", named, "", value, "--", file, pdf, "", "x", "--", json, "", value, "----"),
			plenty, 413},
		"no more than may be":   {lines("--", named, "", value, "--", file, pdf, "", value+value, "----"), plenty, 0},
		"a file without memory": {lines("--", file, pdf, "", value, "----"), none, 0},
		"JSON without memory":   {lines("--", named, "", value, "----"), none, 503},
	} {
		t.Run(name, func(t *testing.T) {
			var account memory.Account
			budget := memory.NewBudget(c.memory)
			account.Open(budget, memory.Party{Caller: "a"})
			r := reading(strings.NewReader(c.body), &account, func(multiparts.Part) error { return nil })
			passed, err := io.ReadAll(r)
			if status(err) != c.want || c.want == 0 && string(passed) != c.body {
				t.Errorf("%v, want %d", err, c.want)
			}
			if account.Close(); budget.State().Held != 0 {
				t.Errorf("%d bytes are held", budget.State().Held)
			}
		})
	}
}

func TestBoundaries(t *testing.T) {
	for field, want := range map[string]string{
		"multipart/form-data; boundary=Qv8sT2":                     "Qv8sT2",
		`multipart/mixed;boundary="----=_Part_0_1.2"`:              "----=_Part_0_1.2",
		"multipart/form-data; boundary=----WebKitFormBoundaryABC":  "----WebKitFormBoundaryABC",
		"multipart/form-data; charset=utf-8; boundary=boundary_1":  "boundary_1",
		"Multipart/Related; BOUNDARY=x; type=\"application/json\"": "x",
		"multipart/form-data":                                      "",
		"multipart/form-data; boundary=":                           "",
		"multipart/form-data; boundary=----":                       "",
		"multipart/form-data; boundary=x; boundary=y":              "",
		"multipart/form-data; boundary*=utf-8''x":                  "",
		"multipart/form-data; boundary*0=x":                        "",
		"multipart/form-data; boundary=x; boundary*=utf-8''y":      "",
		"multipart/form-data; a=\"; boundary=y\"; boundary=x":      "",
		"multipart/form-data; xboundary=y; boundary=x":             "",
		`multipart/form-data; boundary="x\"y"`:                     "",
		`multipart/form-data; boundary="boundary=x"`:               "",
		"multipart/form-data; boundary='x'":                        "",
		`multipart/form-data; boundary="x y"`:                      "",
		`multipart/form-data; boundary="x,y"`:                      "",
		"multipart/form-data; boundary=" + strings.Repeat("x", 71): "",
		"multipart/form-data (a comment; boundary=y); boundary=x":  "",
	} {
		got, err := multiparts.Boundary([]string{field})
		if got != want || (err == nil) != (want != "") || err != nil && status(err) != 400 {
			t.Errorf("%s: %q, %v", field, got, err)
		}
	}
	if _, err := multiparts.Boundary([]string{"multipart/mixed; boundary=x",
		"multipart/mixed; boundary=x"}); status(err) != 400 {
		t.Errorf("two headers: %v", err)
	}
}

// FuzzAgainstMimeMultipart holds that whatever goes on is what came, and that what Go's own
// reader finds in it in JSON was looked at before.
func FuzzAgainstMimeMultipart(f *testing.F) {
	for _, body := range []string{
		lines("--", named, json, "", `{"a":1}`, "--", file, pdf, "", "%PDF", "----", ""),
		lines("--", file, pdf, "", "{\"a\":1}", "----"),
		lines("", "--", "", "{}", "----"),
		strings.ReplaceAll(lines("--", named, json, "", `{"a":1}`, "----"), "\r", ""),
		lines("--", file, "", "x", "--"+boundary, json, "", "{}", "----"),
		lines("--", "Content-Transfer-Encoding: quoted-printable", "", "=7B=7D", "----"),
		lines("--\t", json, "", "{}", "----"),
	} {
		f.Add([]byte(body), 3)
		f.Add([]byte(body), 1000)
	}
	f.Fuzz(func(t *testing.T, body []byte, size int) {
		var got shown
		var in io.Reader = bytes.NewReader(body)
		if size%2 == 0 {
			in = iotest.OneByteReader(in)
		}
		p := reading(in, nil, got.look)
		if size%3 == 0 {
			_ = p.Lead() // Read tells its error
		}
		var passed bytes.Buffer
		_, err := io.CopyBuffer(&passed, struct{ io.Reader }{p}, make([]byte, 1+size&0xff))
		if !bytes.HasPrefix(body, passed.Bytes()) || err == nil && passed.Len() != len(body) {
			t.Fatalf("other bytes went on than came: %q", passed.Bytes())
		}
		parts := multipart.NewReader(&passed, boundary)
		for {
			part, err := parts.NextPart()
			if err != nil {
				return
			}
			content, err := io.ReadAll(part)
			if err != nil {
				return // cut
			}
			media, _, _ := mime.ParseMediaType(part.Header.Get("Content-Type")) // an unreadable one is no JSON
			isJSON := media == "application/json" || bytes.HasPrefix(bytes.TrimLeft(content, " \t\r\n"), []byte(`{"`))
			looked := func(one string) bool { return strings.HasSuffix(one, "="+string(content)) }
			if isJSON && !slices.ContainsFunc(got, looked) {
				t.Fatalf("nobody looked at %q %q; only at %q", part.Header, content, got)
			}
		}
	})
}
