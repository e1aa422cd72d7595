package audit_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"pgregory.net/rapid"

	"ebox-gateway/internal/audit"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/testkit"
)

// Whatever single thing is done to a chain that ended in order is found, with the
// checkpoints that were shipped: to the bytes of a file, compressed or not, or to its lines. The
// key of the chain is not the tamperer's. gzip has a few bytes that say nothing of the lines.
func TestEveryTamperingIsFound(t *testing.T) {
	for name, make := range map[string]func(t testing.TB, n int, segmentSize config.Size) (dir string){
		"plain": plain, "compressed": compressed,
	} {
		t.Run(name, func(t *testing.T) {
			dir := make(t, 20, 4000)
			shipped, besideFile := shippedOf(t, dir), beside(dir)
			besideText, segments := testkit.Read(t, besideFile), segmentsOf(t, dir)
			if len(segments) < 3 {
				t.Fatalf("%d segments", len(segments))
			}
			o := audit.VerifyOptions{Keys: keysIn(t, dir), Checkpoints: []string{shipped}}
			if r := verify(t, dir, o); len(r.Findings) > 0 {
				t.Fatal(r.Findings)
			}
			rapid.Check(t, func(rt *rapid.T) {
				s := segments[rapid.IntRange(0, len(segments)-1).Draw(rt, "segment")]
				original := testkit.Read(t, s)
				text, err := textOf(t, s)
				testkit.Must(t, err)
				var changed string
				if !rapid.Bool().Draw(rt, "lines") {
					changed = string(tamperBytes(rt, []byte(original)))
				} else if changed = tamperLines(rt, text); isCompressed(s) {
					changed = zipped(t, changed)
				}
				if rapid.Bool().Draw(rt, "no checkpoints beside the chain") {
					_ = os.Remove(besideFile)
				}
				testkit.Write(t, s, changed)
				now, err := textOf(t, s)
				if changed == "" {
					mustRemove(t, s)
				}
				r := verify(t, dir, o)
				testkit.Write(t, s, original)
				testkit.Write(t, besideFile, besideText)
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

// tamperLines does one thing to the lines of a segment, of which nothing may be left.
func tamperLines(rt *rapid.T, text string) string {
	lines := slices.Collect(strings.Lines(text))
	line := func(name string) int { return rapid.IntRange(0, len(lines)-1).Draw(rt, name) }
	i, j := line("one"), line("other")
	switch rapid.SampledFrom([]string{"remove", "swap", "repeat", "rechain"}).Draw(rt, "what") {
	case "remove":
		lines = slices.Delete(lines, min(i, j), max(i, j)+1)
	case "swap":
		lines[i], lines[j] = lines[j], lines[i]
	case "repeat":
		lines = slices.Insert(lines, i, lines[i])
	default: // change a record and make every hash after it anew, without the key
		at := parsed(rt, lines[i])
		prev := at.Prev
		for n := i; n < len(lines); n++ {
			lines[n] = forged(at.Seq+uint64(n-i), prev, parsed(rt, lines[n]).Kind, time.Now(), `"requestId":"forged"`)
			prev = parsed(rt, lines[n]).Hash
		}
	}
	return strings.Join(lines, "")
}

// Whoever makes the chain anew with a key of his own is found by those who have the key
// or a checkpoint from before; with the gateway's key, by the checkpoint alone.
func TestAChainThatWasMadeAnewIsFound(t *testing.T) {
	dir, another := plain(t, 3, 64e6), plain(t, 3, 64e6)
	sound(t, another)
	if r := verify(t, another, audit.VerifyOptions{Keys: keysIn(t, dir)}); len(r.Findings) == 0 {
		t.Error("the key does not tell")
	}
	if r := verify(t, another, audit.VerifyOptions{Checkpoints: []string{beside(dir)}}); len(r.Findings) == 0 {
		t.Error("the checkpoints do not tell")
	}
	o := audit.VerifyOptions{Checkpoints: []string{shippedOf(t, dir)}}
	for _, file := range append(globbed(t, dir, "r1", "evidence-*"), beside(dir)) {
		mustRemove(t, file)
	}
	chainOf(t, dir, "r1", 4, 64e6)
	if r := verify(t, dir, o); !strings.Contains(fmt.Sprint(r.Findings), "the chain was made anew") {
		t.Error(r.Findings)
	}
}

// Whoever has the files, and neither the keys nor the checkpoints that were shipped, is found, at the
// place. What may be done to bytes and lines of a segment is in TestEveryTamperingIsFound.
func TestEditsByWhoeverHasTheFilesAreFound(t *testing.T) {
	original := t.TempDir()
	chainOf(t, original, "r1", 20, 4000) // plain, in several files
	chainOf(t, original, "r2", 40, 4000)
	o := options(original)
	o.Replica = "r2"
	_, err := audit.Keep(o) // which compresses
	testkit.Must(t, err)
	all := ""
	for _, file := range globbed(t, original, "*", "checkpoints-*") {
		all += testkit.Read(t, file)
	}
	keys, err := audit.LoadPublicKeys(globbed(t, original, "*", "public-*")...)
	testkit.Must(t, err)
	secret, _, err := note.GenerateKey(nil, "ebox-gateway-evidence/r1")
	testkit.Must(t, err)
	another, err := note.NewSigner(secret)
	testkit.Must(t, err)
	signed := func(text string) string {
		signed, err := note.Sign(&note.Note{Text: text}, another)
		testkit.Must(t, err)
		return string(signed)
	}

	// at are the files of one case: dir has r1 and r2, with the segments of each.
	type at struct {
		dir, r1, r2, marks, shipped string
		plain, zipped               []string
	}
	rewritten := func(path func(at) string, change func(text string) string) func(*testing.T, at) {
		return func(t *testing.T, at at) {
			text := testkit.Read(t, path(at))
			if is := change(text); is == text {
				t.Fatal("nothing was done")
			} else {
				testkit.Write(t, path(at), is)
			}
		}
	}
	relined := func(change func(lines []string) []string) func(string) string {
		return func(text string) string { return strings.Join(change(slices.Collect(strings.Lines(text))), "") }
	}
	replaced := func(old, text string) func(string) string {
		return func(s string) string { return strings.Replace(s, old, text, 1) }
	}
	first := func(at at) string { return at.plain[0] }
	last := func(at at) string { return at.plain[len(at.plain)-1] }
	second := func(at at) string { return at.zipped[1] }
	marks := func(at at) string { return at.marks }
	for _, c := range []struct {
		name string
		edit func(*testing.T, at)
		want []string // of the findings; none if there is none
	}{
		{"nothing", func(*testing.T, at) {}, nil},
		{"a record changed", rewritten(first, replaced(`"requestId":"r1"`, `"requestId":"r9"`)),
			[]string{":4: seq 4: this record was changed"}},
		{"a record removed", rewritten(first, relined(func(l []string) []string { return slices.Delete(l, 2, 3) })),
			[]string{":3: seq 4: seq 3 to 3 are missing before this record"}},
		{"a record moved", rewritten(first, relined(func(l []string) []string {
			l[2], l[3] = l[3], l[2]
			return l
		})), []string{":4: seq 3: this record is out of order"}},
		{"a signature of another key", rewritten(first, relined(func(l []string) []string {
			start := parsed(t, l[1])
			hash, err := hex.DecodeString(start.Hash)
			testkit.Must(t, err)
			text := signed(fmt.Sprintf("ebox-gateway-evidence/r1\n2\n%s\n%s\n", base64.StdEncoding.EncodeToString(hash),
				start.Time))
			signature := text[strings.LastIndex(text, " ")+1 : len(text)-1]
			l[1] = strings.Replace(l[1], base64.StdEncoding.EncodeToString(start.Sig), signature, 1)
			return l
		})), []string{":2: seq 2: the signature of this record does not verify"}},
		{"cut within a record", rewritten(first, func(s string) string { return s[:len(s)-5] }),
			[]string{": the file ends within a record"}},
		{"the end cut off", rewritten(last, relined(func(l []string) []string { return l[:len(l)-1] })),
			[]string{": the end of the chain was cut off"}},
		{"an empty file in place of one", rewritten(first, func(string) string { return "" }),
			[]string{": this file is empty"}},
		{"words that steer a terminal", rewritten(first, replaced(`"format":2,"replica":"r1"`,
			`"format":2,"replica":"\u001b[2J\u202e"`)), []string{"this file is of the replica \uFFFD[2J\uFFFD,"}},
		{"names of two files exchanged", func(t *testing.T, at at) {
			testkit.Must(t, os.Rename(at.plain[1], at.dir+"x"))
			testkit.Must(t, os.Rename(at.plain[2], at.plain[1]))
			testkit.Must(t, os.Rename(at.dir+"x", at.plain[2]))
		}, []string{"the file begins with this record, and its name says seq"}},

		{"a compressed file cut off", rewritten(second, func(s string) string { return s[:len(s)-300] }),
			[]string{"cannot be read from here: its end was cut off", "records are missing before this one"}},
		{"a compressed file emptied", rewritten(second, func(string) string { return "" }),
			[]string{":1: the compressed file cannot be read from here: its end was cut off"}},
		{"rubbish behind a compressed file", rewritten(second, func(s string) string { return s + "rubbish rubbish" }),
			[]string{"cannot be read from here: it was changed"}},

		{"a checkpoint removed", rewritten(marks, relined(func(l []string) []string { return slices.Delete(l, 1, 2) })), nil},
		{"two checkpoints exchanged", rewritten(marks, relined(func(l []string) []string {
			l[0], l[1] = l[1], l[0]
			return l
		})), []string{":2: seq 2: this checkpoint is out of order: it follows that of seq "}},
		{"a checkpoint changed", rewritten(marks, replaced(`\n2\n`, `\n3\n`)),
			[]string{":1: seq 3: this checkpoint does not verify"}},
		{"a checkpoint of another key added", rewritten(marks, func(s string) string {
			line, err := json.Marshal(map[string]string{"note": signed("ebox-gateway-evidence/r1\n1000\n" +
				base64.StdEncoding.EncodeToString(make([]byte, 32)) + "\n2026-11-28T18:00:00Z\n")})
			testkit.Must(t, err)
			return s + string(line) + "\n"
		}), []string{"seq 1000: this checkpoint does not verify: it was changed, or signed by another key"}},
		{"rubbish for checkpoints", rewritten(marks, func(string) string { return strings.Repeat("x\n", 90) }),
			[]string{":90: this line is no checkpoint"}},
		{"a checkpoint of another replica", rewritten(marks, func(s string) string { return s + all[len(s):] }),
			[]string{"this checkpoint is of the replica r2"}},
		{"the shipped ones emptied", func(t *testing.T, at at) { testkit.Write(t, at.shipped, "") },
			[]string{"the checkpoints that were shipped are empty"}},
		{"those shipped of one replica removed", func(t *testing.T, at at) {
			testkit.Write(t, at.shipped, testkit.Read(t, at.marks))
		}, []string{"r2: none of the checkpoints that were shipped is of the replica r2"}},

		{"a replica removed", func(t *testing.T, at at) { mustRemove(t, at.r2) },
			[]string{"the replica r2 has checkpoints, and its chain is not here"}},
		{"a replica emptied", func(t *testing.T, at at) {
			mustRemove(t, at.r2)
			testkit.Must(t, os.Mkdir(at.r2, 0o700))
		}, []string{"the replica r2 has checkpoints, and its chain is not here", "r2: this directory holds no record"}},
		{"a replica without its records", func(t *testing.T, at at) {
			for _, s := range at.zipped {
				mustRemove(t, s)
			}
		}, []string{"the replica r2 has checkpoints, and its chain is not here"}},
		{"a replica replaced by a copy of another", func(t *testing.T, at at) {
			mustRemove(t, at.r2)
			testkit.Must(t, os.CopyFS(at.r2, os.DirFS(at.r1)))
		}, []string{"the directory is named r2, and the chain in it is signed as that of the replica r1",
			"r2: this is a second chain of the replica r1", "the replica r2 has checkpoints, and its chain is not here"}},
		{"a replica led elsewhere", func(t *testing.T, at at) {
			testkit.Must(t, os.Rename(at.r2, at.dir+"x"))
			testkit.Must(t, os.Symlink(at.dir+"x", at.r2))
		}, []string{"r2: this is a symbolic link"}},
		{"a file that is none of the gateway's", func(t *testing.T, at at) {
			testkit.Write(t, filepath.Join(at.r1, "more.jsonl"), "")
		}, []string{"more.jsonl: this is no file of the gateway's"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "evidence")
			testkit.Must(t, os.CopyFS(dir, os.DirFS(original)))
			at := at{dir, filepath.Join(dir, "r1"), filepath.Join(dir, "r2"), beside(dir),
				filepath.Join(t.TempDir(), "shipped.jsonl"), segmentsOf(t, dir), globbed(t, dir, "r2", "evidence-*")}
			testkit.Write(t, at.shipped, all)
			c.edit(t, at)
			got := findings(t, dir, audit.VerifyOptions{Keys: keys, Checkpoints: []string{at.shipped}})
			for _, want := range c.want {
				if !strings.Contains(got, want) {
					t.Errorf("%q is not among\n%s", want, got)
				}
			}
			if (got == "") != (len(c.want) == 0) || strings.ContainsAny(got, "\x1b\u202e") {
				t.Errorf("%q", got)
			}
		})
	}
}
