package audit

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// Whatever single thing is done to a chain that ended in order is found, with the
// checkpoints that were shipped: to the bytes of a file, compressed or not, or to its lines. The
// key of the chain is not the tamperer's. gzip has a few bytes that say nothing of the lines.
func TestEveryTamperingIsFound(t *testing.T) {
	for name, make := range map[string]func(testing.TB, int, int64) string{"plain": plain, "compressed": compressed} {
		t.Run(name, func(t *testing.T) {
			dir := make(t, 20, 4000)
			shipped, besideFile := shippedOf(t, dir), beside(dir)
			besideText, segments := mustRead(t, besideFile), segmentsOf(t, dir)
			if len(segments) < 3 {
				t.Fatalf("%d segments", len(segments))
			}
			o := VerifyOptions{Keys: []ed25519.PublicKey{publicOf(keyIn(t, dir))}, Checkpoints: []string{shipped}}
			if r := verify(t, dir, o); len(r.Findings) > 0 {
				t.Fatal(r.Findings)
			}
			rapid.Check(t, func(rt *rapid.T) {
				s := segments[rapid.IntRange(0, len(segments)-1).Draw(rt, "segment")]
				original := mustRead(t, s.path)
				text, err := textOf(s)
				must(t, err)
				var changed []byte // nil removes the file
				if !rapid.Bool().Draw(rt, "lines") {
					changed = tamperBytes(rt, []byte(original))
				} else if changed = tamperLines(rt, text); s.compressed && changed != nil {
					changed = zipped(t, string(changed))
				}
				if rapid.Bool().Draw(rt, "no checkpoints beside the chain") {
					_ = os.Remove(besideFile)
				}
				mustWrite(t, s.path, changed)
				now, err := textOf(s)
				if changed == nil {
					mustRemove(t, s.path)
				}
				r := verify(t, dir, o)
				mustWrite(t, s.path, original)
				mustWrite(t, besideFile, besideText)
				if (err != nil || now != text) && len(r.Findings) == 0 {
					rt.Fatalf("nothing was found: %+v", r)
				}
			})
		})
	}
}

// tamperBytes does one thing to the bytes of a file.
func tamperBytes(rt *rapid.T, file []byte) []byte {
	at := rapid.IntRange(0, len(file)-1).Draw(rt, "offset")
	switch rapid.SampledFrom([]string{"edit", "insert", "delete", "cut", "add"}).Draw(rt, "what") {
	case "edit":
		return slices.Replace(slices.Clone(file), at, at+1, rapid.Byte().Draw(rt, "byte"))
	case "insert":
		return slices.Insert(slices.Clone(file), at, rapid.Byte().Draw(rt, "byte"))
	case "delete":
		n := rapid.IntRange(1, 200).Draw(rt, "bytes")
		return slices.Delete(slices.Clone(file), at, min(at+n, len(file)))
	case "cut":
		return slices.Clone(file[:at])
	default:
		return append(slices.Clone(file), rapid.Byte().Draw(rt, "byte"))
	}
}

// tamperLines does one thing to the lines of a segment; nil is its removal.
func tamperLines(rt *rapid.T, text string) []byte {
	lines := strings.SplitAfter(text, "\n")
	lines = lines[:len(lines)-1]
	line := func(name string) int { return rapid.IntRange(0, len(lines)-1).Draw(rt, name) }
	join := func(parts ...[]string) []byte {
		var all []string
		for _, p := range parts {
			all = append(all, p...)
		}
		return []byte(strings.Join(all, ""))
	}
	switch rapid.SampledFrom([]string{"remove", "swap", "repeat", "cut lines", "rechain", "drop file",
		"foreign"}).Draw(rt, "what") {
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
	case "cut lines":
		return join(lines[:line("line")])
	case "drop file":
		return nil
	case "foreign": // a record of another chain in the place of one
		i := line("line")
		other := forged(KindRead, &link{parsed(rt, lines[i]).seq - 1, digest{1}})
		return join(lines[:i], []string{other}, lines[i+1:])
	default: // change a record and make every hash after it anew, without the key
		i := line("line")
		var made []string
		at := before(parsed(rt, lines[i]))
		for _, text := range lines[i:] {
			made = append(made, forged(parsed(rt, text).kind, at))
		}
		return join(lines[:i], made)
	}
}

func TestTheFindingNamesThePlace(t *testing.T) {
	dir := plain(t, 10, 64e6)
	path, text, lines := segmentsOf(t, dir)[0].path, whole(t, dir), lines(t, dir)
	for _, c := range []struct{ name, text, want string }{
		{"changed", strings.Replace(text, `"requestId":"r3"`, `"requestId":"r9"`, 1), ":6: seq 6: this record was changed"},
		{"removed", strings.Replace(text, lines[4], "", 1), ":5: seq 6: seq 5 to 5 are missing before this record"},
		{"moved", strings.Replace(strings.Replace(text, lines[4], "", 1), lines[6], lines[6]+lines[4], 1),
			":7: seq 5: this record is out of order"},
		{"cut at the end", strings.TrimSuffix(text, lines[12]), ":12: seq 12: the end of the chain was cut off"},
		{"cut within a record", text[:len(text)-5], ":13: the file ends within a record"},
	} {
		t.Run(c.name, func(t *testing.T) {
			mustWrite(t, path, c.text)
			if r := verify(t, dir, VerifyOptions{}); c.text == text || !contains(r.Findings, path+c.want) {
				t.Errorf("%v", r.Findings)
			}
			if _, s := find(t, dir, Query{Caller: "hr"}); len(s.Findings) == 0 && c.name != "cut at the end" {
				t.Error("a search does not say it")
			}
		})
	}
}

// Whoever makes the chain anew with a key of his own is found by those who have the key
// or a checkpoint from before.
func TestAChainThatWasMadeAnewIsFound(t *testing.T) {
	dir, forged := plain(t, 3, 64e6), plain(t, 3, 64e6)
	sound(t, forged)
	if r := verify(t, forged, VerifyOptions{Keys: []ed25519.PublicKey{publicOf(keyIn(t, dir))}}); len(r.Findings) == 0 {
		t.Error("the key does not tell")
	}
	if r := verify(t, forged, VerifyOptions{Checkpoints: []string{beside(dir)}}); len(r.Findings) == 0 {
		t.Error("the checkpoints do not tell")
	}
}

// Whoever has the files, and neither the key nor the checkpoints that were shipped, is found.
func TestEditsByWhoeverHasTheFilesAreFound(t *testing.T) {
	for name, edit := range map[string]func(t *testing.T, dir, older string, files []segment){
		"the names of two segments were swapped": func(t *testing.T, _, _ string, files []segment) {
			must(t, os.Rename(files[1].path, files[1].path+"x"))
			must(t, os.Rename(files[2].path, files[1].path))
			must(t, os.Rename(files[1].path+"x", files[2].path))
		},
		"a checkpoint was added that another key signed": func(t *testing.T, dir, _ string, _ []segment) {
			_, key, err := ed25519.GenerateKey(nil)
			must(t, err)
			by, err := newSigner("r1", key)
			must(t, err)
			forged := checkpoint{replica: "r1", link: link{seq: 1_000}, time: "2026-11-28T18:00:00Z"}
			by.sign(&forged)
			mustWrite(t, beside(dir), mustRead(t, beside(dir))+string(forged.line()))
		},
		"an older copy of the directory was put there": func(t *testing.T, dir, older string, _ []segment) {
			mustRemove(t, dir)
			must(t, os.Rename(older, dir))
		},
		"a segment was replaced by another one, compressed": func(t *testing.T, _, _ string, files []segment) {
			mustWrite(t, files[1].path+compressedSuffix, zipped(t, mustRead(t, files[2].path)))
			mustRemove(t, files[1].path)
		},
		"the file of checkpoints is that of another chain": func(t *testing.T, dir, _ string, _ []segment) {
			mustWrite(t, beside(dir), mustRead(t, beside(plain(t, 3, 64e6))))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir, older := plain(t, 20, 4000), filepath.Join(t.TempDir(), "older")
			must(t, os.CopyFS(older, os.DirFS(dir)))
			chainOf(t, dir, 5, 4000)
			o := VerifyOptions{Keys: []ed25519.PublicKey{publicOf(keyIn(t, dir))}, Checkpoints: []string{shippedOf(t, dir)}}
			if r := verify(t, dir, o); len(r.Findings) > 0 || r.Checkpoints == 0 {
				t.Fatalf("%+v", r)
			}
			edit(t, dir, older, segmentsOf(t, dir))
			if r := verify(t, dir, o); len(r.Findings) == 0 {
				t.Errorf("nothing was found: %+v", r)
			}
		})
	}
}

// Whoever changed a record writes nothing on the terminal of whoever verifies it.
func TestAFindingHasNoControlCharacters(t *testing.T) {
	dir := plain(t, 1, 64e6)
	text := strings.Replace(whole(t, dir), `"kind":"segment","format":2,"replica":"r1"`,
		`"kind":"segment","format":2,"replica":"\u001b[2J\u202e"`, 1)
	mustWrite(t, segmentsOf(t, dir)[0].path, text)
	r := verify(t, dir, VerifyOptions{})
	all := fmt.Sprint(r.Findings)
	if !strings.Contains(all, "this file is of the replica \uFFFD[2J\uFFFD,") || strings.ContainsAny(all, "\x1b\u202e") {
		t.Errorf("%q", all)
	}
}

func FuzzParseLine(f *testing.F) {
	signed := plain(f, 1, 64e6)
	for _, text := range lines(f, signed) {
		f.Add(strings.TrimSuffix(text, "\n"))
	}
	f.Add(`{"seq":1,"prev":"`)
	f.Add(`,"hash":"","sig":""}`)
	f.Fuzz(func(t *testing.T, text string) {
		l, err := parseLine(raw{text: []byte(text)})
		if err != nil {
			return
		}
		// A line that can be taken apart is put together again from its parts alone.
		again := string(l.content) + hashStart + fmt.Sprintf("%x", l.hash)
		if l.signature != nil {
			again += sigStart + base64.StdEncoding.EncodeToString(l.signature)
		}
		if again += lineEnd; again != text {
			t.Errorf("%q\n%q", text, again)
		}
	})
}
