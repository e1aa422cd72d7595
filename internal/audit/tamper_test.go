package audit

import (
	"crypto/ed25519"
	"fmt"
	"os"
	"path/filepath"
	"slices"
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
	besideText := mustRead(t, besideFile)
	mustWrite(t, shipped, besideText)
	segments := mustSegments(t, dir)
	if len(segments) < 3 {
		t.Fatalf("%d segments", len(segments))
	}
	original := make([][]byte, len(segments))
	for i, s := range segments {
		original[i] = mustRead(t, s.path)
	}
	key := keyIn(t, dir)
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
		mustWrite(t, path, changed)
		if changed == nil {
			mustRemove(t, path)
		}
		r, err := verifyOne(filepath.Join(dir, "r1"), o)
		mustWrite(t, path, text)
		mustWrite(t, besideFile, besideText)
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
		return join(lines[:i], []string{string(forged(KindRead).appendTo(nil, &before))}, lines[i+1:])
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
			made = append(made, string(forged(l.kind).appendTo(nil, &at)))
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
			mustWrite(t, path, []byte(c.text))
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
	key := keyIn(t, dir)
	chainOf(t, forged, 3, 64e6)
	sound(t, forged)
	if r := verify(t, forged, VerifyOptions{Keys: []ed25519.PublicKey{key.Public()}}); len(r.Findings) == 0 {
		t.Error("the key does not tell")
	}
	if r := verify(t, forged, VerifyOptions{Checkpoints: []string{beside(dir)}}); len(r.Findings) == 0 {
		t.Error("the checkpoints do not tell")
	}
}

// Whoever has the files, and neither the key nor the checkpoints that were shipped, is found.
func TestEditsByWhoeverHasTheFilesAreFound(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(t *testing.T, dir, older string, files []segment)
	}{
		{"the names of two segments were swapped", func(t *testing.T, _, _ string, files []segment) {
			mustRename(t, files[1].path, files[1].path+"x")
			mustRename(t, files[2].path, files[1].path)
			mustRename(t, files[1].path+"x", files[2].path)
		}},
		{"a checkpoint was added that another key signed", func(t *testing.T, dir, _ string, _ []segment) {
			key, err := GenerateKey()
			must(t, err)
			by, err := newSigner("r1", key)
			must(t, err)
			forged := checkpoint{"r1", link{seq: 1_000}, "2026-11-28T18:00:00Z"}
			line := checkpointLine(forged.message(by.sign(&forged)))
			mustWrite(t, beside(dir), append(mustRead(t, beside(dir)), line...))
		}},
		{"an older copy of the directory was put there", func(t *testing.T, dir, older string, _ []segment) {
			mustRemove(t, dir)
			mustRename(t, older, dir)
		}},
		{"a compressed segment was replaced by another one", func(t *testing.T, _, _ string, files []segment) {
			mustWrite(t, files[1].path+compressedSuffix, zipped(t, mustRead(t, files[2].path)))
			mustRemove(t, files[1].path)
		}},
		{"a compressed segment was replaced by what is none", func(t *testing.T, _, _ string, files []segment) {
			mustWrite(t, files[1].path+compressedSuffix, zipped(t, []byte("nothing happened on this day\n")))
			mustRemove(t, files[1].path)
		}},
		{"a file was added", func(t *testing.T, dir, _ string, _ []segment) {
			mustWrite(t, filepath.Join(dir, "r1", noteName), []byte("not exported"))
		}},
		{"the file of checkpoints is that of another chain", func(t *testing.T, dir, _ string, _ []segment) {
			other := t.TempDir()
			chainOf(t, other, 3, 64e6)
			mustWrite(t, beside(dir), mustRead(t, beside(other)))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, older := t.TempDir(), filepath.Join(t.TempDir(), "older")
			chainOf(t, dir, 20, 4000)
			mustCopy(t, dir, older)
			chainOf(t, dir, 5, 4000)
			key := keyIn(t, dir)
			shipped := filepath.Join(t.TempDir(), "shipped.jsonl")
			mustWrite(t, shipped, mustRead(t, beside(dir)))
			o := VerifyOptions{Keys: []ed25519.PublicKey{key.Public()}, Checkpoints: []string{shipped}}
			if r := verify(t, dir, o); len(r.Findings) > 0 || r.Checkpoints == 0 {
				t.Fatalf("%+v", r)
			}
			c.edit(t, dir, older, mustSegments(t, dir))
			if r := verify(t, dir, o); len(r.Findings) == 0 {
				t.Errorf("nothing was found: %+v", r)
			}
		})
	}
}

// Collectors of logs put lines a little out of order, and may hand one out twice.
func TestShippedCheckpointsMayBeOutOfOrder(t *testing.T) {
	dir := t.TempDir()
	chainOf(t, dir, 40, 2000)
	all := strings.SplitAfter(string(mustRead(t, beside(dir))), "\n")
	all = append(all[:len(all)-1], all[1])
	slices.Reverse(all)
	shipped := filepath.Join(t.TempDir(), "shipped.jsonl")
	mustWrite(t, shipped, []byte(strings.Join(all, "")))
	r := verify(t, dir, VerifyOptions{Checkpoints: []string{shipped}})
	if len(r.Findings) > 0 || r.Checkpoints != len(all)-1 {
		t.Errorf("%d of %d were compared: %v", r.Checkpoints, len(all)-1, r.Findings)
	}
}

func FuzzParseLine(f *testing.F) {
	var at link
	f.Add(strings.TrimSuffix(string(forged(KindRead).appendTo(nil, &at)), "\n"))
	key, err := GenerateKey()
	if err != nil {
		f.Fatal(err)
	}
	by, err := newSigner("r1", key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(strings.TrimSuffix(string(at.append(nil, KindStart, time.Unix(0, 0), signedFields{Replica: "r1"},
		func(at link) string {
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
