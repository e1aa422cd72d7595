package audit

import (
	"crypto/ed25519"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

type ed25519PublicKey = ed25519.PublicKey

// chainOf writes a chain of n reads in several segments, closed in order.
func chainOf(t testing.TB, dir string, n int, segmentSize int64) {
	t.Helper()
	o := options(dir)
	o.SegmentSize = segmentSize
	l := openPlain(t, o)
	for i := range n {
		l.Done(finished(fmt.Sprintf("r%d", i)))
		if i%5 == 4 {
			l.rouse()
			for l.Status().Waiting > 0 {
				time.Sleep(100 * time.Microsecond)
			}
		}
	}
	mustClose(t, l)
}

// Whatever single thing is done to a chain that ended in order is found, with the
// checkpoints that were shipped. The key of the chain is not the tamperer's.
func TestEveryTamperingIsFound(t *testing.T) {
	dir := t.TempDir()
	chainOf(t, dir, 40, 8000)
	shipped := filepath.Join(t.TempDir(), "shipped.jsonl")
	besideFile := beside(dir)
	besideText, err := os.ReadFile(besideFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(shipped, besideText, 0o600); err != nil {
		t.Fatal(err)
	}
	segments := mustSegments(t, dir)
	if len(segments) < 3 {
		t.Fatalf("%d segments", len(segments))
	}
	original := make([][]byte, len(segments))
	for i, s := range segments {
		if original[i], err = os.ReadFile(s.path); err != nil {
			t.Fatal(err)
		}
	}
	key, err := LoadKey(filepath.Join(dir, "r1", keyName))
	if err != nil {
		t.Fatal(err)
	}
	o := VerifyOptions{Keys: []ed25519.PublicKey{key.Public()}, Checkpoints: []string{shipped}}
	if r := verify(t, dir, o); len(r.Findings) > 0 {
		t.Fatal(r.Findings)
	}
	rapid.Check(t, func(rt *rapid.T) {
		which := rapid.IntRange(0, len(segments)-1).Draw(rt, "segment")
		path, text := segments[which].path, original[which]
		changed := tamper(rt, text)
		withCheckpoints := rapid.Bool().Draw(rt, "checkpoints beside the chain too")
		if !withCheckpoints {
			_ = os.Remove(besideFile)
		}
		if changed == nil {
			err = os.Remove(path)
		} else {
			err = os.WriteFile(path, changed, 0o600)
		}
		if err != nil {
			rt.Fatal(err)
		}
		r, err := Verify(filepath.Join(dir, "r1"), o)
		if restore := os.WriteFile(path, text, 0o600); restore != nil {
			rt.Fatal(restore)
		}
		if restore := os.WriteFile(besideFile, besideText, 0o600); restore != nil {
			rt.Fatal(restore)
		}
		if err != nil {
			rt.Fatal(err)
		}
		if string(changed) != string(text) && len(r.Findings) == 0 {
			rt.Fatalf("nothing was found: %+v", r)
		}
	})
}

// tamper does one thing to the text of a segment; nil is its removal.
func tamper(rt *rapid.T, text []byte) []byte {
	lines := strings.SplitAfter(string(text), "\n")
	lines = lines[:len(lines)-1]
	line := func(name string) int { return rapid.IntRange(0, len(lines)-1).Draw(rt, name) }
	at := func() int { return rapid.IntRange(0, len(text)-1).Draw(rt, "offset") }
	join := func(parts ...[]string) []byte {
		var all []string
		for _, p := range parts {
			all = append(all, p...)
		}
		return []byte(strings.Join(all, ""))
	}
	switch rapid.SampledFrom([]string{"edit", "insert", "delete", "remove", "swap", "repeat", "cut", "cut lines",
		"rechain", "drop file", "foreign"}).Draw(rt, "what") {
	case "edit":
		i, b := at(), rapid.Byte().Draw(rt, "byte")
		return append(append(append([]byte(nil), text[:i]...), b), text[i+1:]...)
	case "insert":
		i, b := at(), rapid.Byte().Draw(rt, "byte")
		return append(append(append([]byte(nil), text[:i]...), b), text[i:]...)
	case "delete":
		i := at()
		n := rapid.IntRange(1, 200).Draw(rt, "bytes")
		return append(append([]byte(nil), text[:i]...), text[min(i+n, len(text)):]...)
	case "remove":
		i := line("line")
		j := min(i+rapid.IntRange(1, 3).Draw(rt, "lines"), len(lines))
		return join(lines[:i], lines[j:])
	case "swap":
		i, j := line("one"), line("other")
		lines[i], lines[j] = lines[j], lines[i]
		return join(lines)
	case "repeat":
		i := line("line")
		return join(lines[:i+1], lines[i:])
	case "cut":
		return append([]byte(nil), text[:at()]...)
	case "cut lines":
		return join(lines[:line("line")])
	case "drop file":
		return nil
	case "foreign": // a record of another chain in the place of one
		i := line("line")
		l, err := parseLine([]byte(strings.TrimSuffix(lines[i], "\n")))
		if err != nil {
			rt.Fatal(err)
		}
		before := link{l.seq - 1, digest{1}}
		e := entry{kind: KindRead, at: time.Now(), call: *finished("forged")}
		return join(lines[:i], []string{string(e.appendTo(nil, &before, strings.ToUpper))}, lines[i+1:])
	default: // change a record and make every hash after it anew, without the key
		i := line("line")
		var made []string
		var at link
		for n, text := range lines[i:] {
			l, err := parseLine([]byte(strings.TrimSuffix(text, "\n")))
			if err != nil {
				rt.Fatal(err)
			}
			if n == 0 {
				at = link{l.seq - 1, l.prev}
			}
			e := entry{kind: l.kind, at: time.Now(), call: *finished("forged")}
			made = append(made, string(e.appendTo(nil, &at, strings.ToUpper)))
		}
		return join(lines[:i], made)
	}
}

func TestTheFindingNamesThePlace(t *testing.T) {
	dir := t.TempDir()
	chainOf(t, dir, 10, 64e6)
	path := mustSegments(t, dir)[0].path
	text := whole(t, dir)
	lines := strings.SplitAfter(text, "\n")
	for _, c := range []struct{ name, text, want string }{
		{"changed", strings.Replace(text, `"requestId":"r3"`, `"requestId":"r9"`, 1), ":6: seq 6: this record was changed"},
		{"removed", strings.Replace(text, lines[4], "", 1), ":5: seq 6: seq 5 to 5 are missing before this record"},
		{"moved", strings.Replace(strings.Replace(text, lines[4], "", 1), lines[6], lines[6]+lines[4], 1),
			":7: seq 5: this record is out of order"},
		{"cut at the end", strings.TrimSuffix(text, lines[12]), ":12: seq 12: the end of the chain was cut off"},
		{"cut within a record", text[:len(text)-5], ":13: the file ends within a record"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.text == text {
				t.Fatal("nothing was done")
			}
			if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			r := verify(t, dir, VerifyOptions{})
			found := false
			for _, f := range r.Findings {
				found = found || strings.Contains(f.String(), filepath.Base(path)+c.want)
			}
			if !found {
				t.Errorf("%v", r.Findings)
			}
		})
	}
}

// Whoever makes the chain anew with a key of his own is found by those who have the key
// or a checkpoint from before.
func TestAChainThatWasMadeAnewIsFound(t *testing.T) {
	dir, forged := t.TempDir(), t.TempDir()
	chainOf(t, dir, 3, 64e6)
	key, err := LoadKey(filepath.Join(dir, "r1", keyName))
	if err != nil {
		t.Fatal(err)
	}
	chainOf(t, forged, 3, 64e6)
	sound(t, forged)
	if r := verify(t, forged, VerifyOptions{Keys: []ed25519.PublicKey{key.Public()}}); len(r.Findings) == 0 {
		t.Error("the key does not tell")
	}
	if r := verify(t, forged, VerifyOptions{Checkpoints: []string{beside(dir)}}); len(r.Findings) == 0 {
		t.Error("the checkpoints do not tell")
	}
}

func FuzzParseLine(f *testing.F) {
	var at link
	e := entry{kind: KindRead, at: time.Unix(0, 0), call: *finished("r")}
	f.Add(strings.TrimSuffix(string(e.appendTo(nil, &at, strings.ToUpper)), "\n"))
	key, err := GenerateKey()
	if err != nil {
		f.Fatal(err)
	}
	by, err := newSigner("r1", key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(strings.TrimSuffix(string(at.end(at.begin(nil, KindStart, time.Unix(0, 0)), 0, func(at link) string {
		c := checkpoint{"r1", at, "1970-01-01T00:00:00Z"}
		return by.sign(&c)
	})), "\n"))
	f.Add(`{"seq":1,"prev":"`)
	f.Add(`,"hash":"","sig":""}`)
	f.Fuzz(func(t *testing.T, text string) {
		l, err := parseLine([]byte(text))
		if err != nil {
			return
		}
		// A line that can be taken apart is put together again from its parts alone.
		again := string(l.content) + hashStart + fmt.Sprintf("%x", l.hash)
		if l.signature != nil {
			again += sigStart + base64Text(l.signature)
		}
		if again += lineEnd; again != text {
			t.Errorf("%q\n%q", text, again)
		}
	})
}
