package audit

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"ebox-gateway/internal/ebox"
)

// Whoever may change messages writes what stands in the record of it. A line that no
// reader takes for a record would look like tampering, and be cut off at the next start.
func TestNoCallerWritesARecordThatDoesNotVerify(t *testing.T) {
	dir := t.TempDir()
	l := mustOpen(t, options(dir))
	for name, body := range map[string]string{
		"one id of a megabyte": `{"items":[{"messageId":"é` + strings.Repeat("<", 1<<20-100) + `"}]}`,
		"a thousand of a kilobyte": `{"items":[` + strings.Repeat(`{"messageId":"`+strings.Repeat("é<&", 250)+
			`"},`, 1000) + `{}]}`,
	} {
		r := write(name)
		r.Messages, r.MoreMessages = messageIDs([]byte(body))
		if !r.MoreMessages {
			t.Errorf("%s: the record does not say that there are more", name)
		}
		if err := l.Intent(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		l.Done(r)
	}
	mustClose(t, l)
	sound(t, dir)
}

func TestNoFormOfAPathOrBodyHidesWhichMessagesAreChanged(t *testing.T) {
	const body = `{"items":[{"messageId":"M1","readStatus":true}]}`
	for _, path := range []string{"/ebox/messages", "/ebox/messages/", "/ebox/messages;v=1", "/ebox/%6dessages",
		"/ebox/Messages%20", "/ebox/messages/;x", "/ebox/messages.json"} {
		a := new(announced)
		if err := send(t, a, "PATCH", path, body, ebox.Change); err != nil || len(a.ids) != 1 || a.ids[0] != "M1" || a.more {
			t.Errorf("%s: %q, more: %v, %v", path, a.ids, a.more, err)
		}
	}
	for coding, want := range map[string]bool{"gzip": true, "Identity": false} {
		r, err := http.NewRequestWithContext(t.Context(), "PATCH", "http://upstream/ebox/messages", strings.NewReader(body))
		must(t, err)
		r.Header.Set("Content-Encoding", coding)
		a := new(announced)
		if _, err := NewLayer(a, a).Send(t.Context(), callOf("PATCH", "/ebox/messages", ebox.Change), r); err != nil ||
			a.more != want || a.body != body {
			t.Errorf("%s: the record says that it names all: %v; %v", coding, !a.more, err)
		}
	}
}

// Nor does whoever changed a record write on the terminal of whoever verifies it.
func TestAFindingHasNoControlCharacters(t *testing.T) {
	dir := t.TempDir()
	chainOf(t, dir, 1, 64e6)
	path := mustSegments(t, dir)[0].path
	text := strings.Replace(whole(t, dir), `"kind":"segment","format":2,"replica":"r1"`,
		`"kind":"segment","format":2,"replica":"\u001b[2J\u202e"`, 1)
	mustWrite(t, path, []byte(text))
	r := verify(t, dir, VerifyOptions{})
	all := fmt.Sprint(r.Findings)
	if !strings.Contains(all, "this file is of the replica \uFFFD[2J\uFFFD,") || strings.ContainsAny(all, "\x1b\u202e") {
		t.Errorf("%q", all)
	}
}
