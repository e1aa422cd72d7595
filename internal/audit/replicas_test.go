package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// twoReplicas writes the chains of r1 and r2, and gives the file of the checkpoints that
// were shipped of both.
func twoReplicas(t *testing.T, dir string) (shipped string) {
	t.Helper()
	shipped = filepath.Join(t.TempDir(), "shipped.jsonl")
	f, err := os.Create(shipped)
	must(t, err)
	for _, name := range []string{"r1", "r2"} {
		o := options(dir)
		o.Replica, o.Ship = name, f
		l := mustOpen(t, o)
		l.Done(finished("of-" + name))
		must(t, l.Close())
	}
	must(t, f.Close())
	return shipped
}

// findings are those of all chains of a directory, a line each.
func findings(t *testing.T, dir string, checkpoints ...string) string {
	t.Helper()
	reports, between, err := VerifyAll([]string{dir}, VerifyOptions{Checkpoints: checkpoints})
	must(t, err)
	for _, r := range reports {
		between = append(between, r.Findings...)
	}
	text := ""
	for _, f := range between {
		text += f.String() + "\n"
	}
	return text
}

// Whoever cut off the end of the evidence and of the checkpoints beside it would empty those too.
func TestShippedCheckpointsThatWereEmptiedAreFound(t *testing.T) {
	dir := t.TempDir()
	shipped := twoReplicas(t, dir)
	empty := filepath.Join(t.TempDir(), "empty.jsonl")
	must(t, os.WriteFile(empty, nil, 0o600))
	if found := findings(t, dir, empty); !strings.Contains(found, "the checkpoints that were shipped are empty") {
		t.Errorf("found %q", found)
	}
	if found := findings(t, dir, empty, shipped); found != "" { // a file begun anew beside the one before
		t.Errorf("found %q", found)
	}
}

// Whoever empties what was shipped of one replica, of several, leaves the other ones' checkpoints.
func TestAReplicaThatIsMissingInTheShippedCheckpointsIsFound(t *testing.T) {
	dir := t.TempDir()
	shipped := twoReplicas(t, dir)
	var kept []string
	for line := range strings.Lines(mustRead(t, shipped)) {
		if !strings.Contains(line, originPrefix+"r2") {
			kept = append(kept, line)
		}
	}
	mustWrite(t, shipped, strings.Join(kept, ""))
	if found := findings(t, dir, shipped); strings.Count(found, "\n") != 1 ||
		!strings.Contains(found, "r2: none of the checkpoints that were shipped is of the replica r2") {
		t.Errorf("found %q", found)
	}
}

// What is done to whole directories or names of files is found as what is done to lines is.
func TestReplicasThatWereRemovedCopiedOrRenamedAreFound(t *testing.T) {
	for _, c := range []struct {
		name   string
		tamper func(t *testing.T, r1, r2 string)
		want   []string
	}{
		{"nothing", func(*testing.T, string, string) {}, nil},
		{"removed", func(t *testing.T, _, r2 string) { mustRemove(t, r2) },
			[]string{"the replica r2 has checkpoints, and its chain is not here"}},
		{"emptied", func(t *testing.T, _, r2 string) {
			mustRemove(t, r2)
			must(t, os.Mkdir(r2, 0o700))
		}, []string{"the replica r2 has checkpoints, and its chain is not here", "r2: this directory holds no record"}},
		{"replaced by a copy of another", func(t *testing.T, r1, r2 string) {
			mustRemove(t, r2)
			must(t, os.CopyFS(r2, os.DirFS(r1)))
		}, []string{"the directory is named r2, and the chain in it is signed as that of the replica r1",
			"r2: this is a second chain of the replica r1", "the replica r2 has checkpoints, and its chain is not here"}},
		{"copied beside itself", func(t *testing.T, r1, _ string) {
			must(t, os.CopyFS(filepath.Join(filepath.Dir(r1), "r3"), os.DirFS(r1)))
		}, []string{"the directory is named r3", "r3: this is a second chain of the replica r1"}},
		{"renamed", func(t *testing.T, _, r2 string) { must(t, os.Rename(r2, filepath.Join(filepath.Dir(r2), "r9"))) },
			[]string{"the directory is named r9, and the chain in it is signed as that of the replica r2"}},
		{"exchanged", func(t *testing.T, r1, r2 string) {
			must(t, os.Rename(r1, r1+"x"))
			must(t, os.Rename(r2, r1))
			must(t, os.Rename(r1+"x", r2))
		}, []string{"the directory is named r1", "the directory is named r2"}},
		{"led elsewhere", func(t *testing.T, _, r2 string) {
			away := filepath.Join(t.TempDir(), "r2")
			must(t, os.CopyFS(away, os.DirFS(r2)))
			mustRemove(t, r2)
			must(t, os.Symlink(away, r2))
		}, []string{"r2: this is a symbolic link"}},
		{"without its records", func(t *testing.T, _, r2 string) {
			names, err := filepath.Glob(filepath.Join(r2, segmentPrefix+"*"))
			must(t, err)
			for _, name := range names {
				mustRemove(t, name)
			}
		}, []string{"the replica r2 has checkpoints, and its chain is not here"}},
		{"with a file that is none of the gateway's", func(t *testing.T, r1, _ string) {
			mustWrite(t, filepath.Join(r1, "more.jsonl"), "")
		}, []string{"more.jsonl: this is no file of the gateway's"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			shipped := twoReplicas(t, dir)
			c.tamper(t, filepath.Join(dir, "r1"), filepath.Join(dir, "r2"))
			got := findings(t, dir, shipped)
			for _, want := range c.want {
				if !strings.Contains(got, want) {
					t.Errorf("%q is not among\n%s", want, got)
				}
			}
			if (got == "") != (len(c.want) == 0) {
				t.Errorf("%s", got)
			}
			// The chain of one replica may lie on a volume of its own, and is given by its directory.
			if got := findings(t, filepath.Join(dir, "r1"), shipped); c.want == nil && got != "" {
				t.Errorf("r1 alone: %s", got)
			}
		})
	}
}

// A file that was renamed to another day is found by verifying, and searching does not pass
// over it: what day it is of, its first record says.
func TestASegmentThatWasRenamedIsFoundAndSearched(t *testing.T) {
	for _, c := range []struct{ name, from, to, want string }{
		{"to another day", "20260305", "20310101", "its name says 2031-01-01: it was renamed"},
		{"to another number", "-000000000001", "-000000000007", "its name says seq 7"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			at(t, dir, "2026-03-05", "sought")
			path := segmentsOf(t, dir)[0].path
			must(t, os.Rename(path, strings.Replace(path, c.from, c.to, 1)))
			if got := findings(t, dir); !strings.Contains(got, c.want) {
				t.Errorf("verifying: %s", got)
			}
			day := time.Date(2026, 3, 5, 0, 0, 0, 0, time.UTC)
			all, s := find(t, dir, Query{From: day, To: day.Add(24 * time.Hour)})
			if ids(all) != "sought" || len(s.Findings) == 0 {
				t.Errorf("searching: %q, %+v", ids(all), s)
			}
		})
	}
}

// The directory is looked at with each checkpoint, also where nothing is written.
func TestADirectoryThatIsRemovedOrReplacedUnderTheGatewayIsNoticed(t *testing.T) {
	for _, c := range []struct {
		name   string
		whole  bool // no record is missing, so that the chain verifies and its gap record tells
		tamper func(t testing.TB, dir string)
	}{
		{"removed", false, mustRemove},
		{"replaced by a copy", true, func(t testing.TB, dir string) {
			must(t, os.CopyFS(dir+"x", os.DirFS(dir)))
			mustRemove(t, dir)
			must(t, os.Rename(dir+"x", dir))
		}},
		{"its segment removed", false, func(t testing.TB, dir string) {
			mustRemove(t, segmentsOf(t, filepath.Dir(dir))[0].path)
		}},
		{"its segment cut", false, func(t testing.TB, dir string) {
			must(t, os.Truncate(segmentsOf(t, filepath.Dir(dir))[0].path, 100))
		}},
	} {
		for _, busy := range []bool{false, true} {
			t.Run(c.name+map[bool]string{false: ", idle", true: ", busy"}[busy], func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					dir := t.TempDir()
					o := options(dir)
					o.StopAfter = 5 * time.Minute
					l := mustOpen(t, o)
					l.Done(finished("before"))
					time.Sleep(2 * time.Minute)
					synctest.Wait()
					c.tamper(t, l.Dir())
					if busy {
						l.Done(finished("after"))
					}
					time.Sleep(90 * time.Second)
					synctest.Wait()
					if s := l.Status(); s.Missing == "" || s.LastGap.IsZero() || l.Refused() {
						t.Errorf("after a minute: %+v", l.Status())
					}
					time.Sleep(5 * time.Minute)
					if !l.Refused() {
						t.Error("requests are served for longer than StopAfter")
					}
					l.Done(finished("later"))
					must(t, l.Close())
					if text := whole(t, dir); !strings.Contains(text, `"kind":"gap"`) || !strings.Contains(text, `"later"`) {
						t.Errorf("the chain does not say it: %s", text)
					}
					if r := verify(t, dir, VerifyOptions{}); (len(r.Findings) == 0) != c.whole || r.Gaps != 1 {
						t.Errorf("%d gaps, %v", r.Gaps, r.Findings)
					}
				})
			})
		}
	}
}

// A start where evidence was looks into the shipped checkpoints before it begins anew.
func TestAStartWithoutItsEvidenceIsSaid(t *testing.T) {
	dir := t.TempDir()
	shipped := filepath.Join(t.TempDir(), "shipped.jsonl")
	f, err := os.Create(shipped)
	must(t, err)
	defer f.Close()
	o := options(dir)
	o.Ship, o.Shipped, o.StopAfter = f, shipped, 0
	must(t, mustOpen(t, o).Close())
	again := mustOpen(t, o) // in order
	if s := again.Status(); s.Missing != "" {
		t.Fatal(s.Missing)
	}
	must(t, again.Close())
	mustRemove(t, filepath.Join(dir, "r1"))
	l := mustOpen(t, o)
	if s := l.Status(); !strings.Contains(s.Missing, "went to record 5 ") || !l.Refused() {
		t.Errorf("%+v", s)
	}
	must(t, l.Close())
	if got := kindsIn(t, dir); !strings.HasPrefix(got, "gap start") {
		t.Error(got)
	}
}

// A version that does not know a file's format says so, and neither skips nor writes it.
func TestEvidenceOfANewerVersionIsAnError(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(t *testing.T, path string)
	}{
		{"by its first record", func(t *testing.T, path string) {
			first, rest, _ := strings.Cut(mustRead(t, path), "\n")
			content, _, _ := strings.Cut(strings.Replace(first, `"format":2`, `"format":3`, 1), hashStart)
			sum := sha256.Sum256([]byte(content))
			first = content + hashStart + hex.EncodeToString(sum[:]) + lineEnd
			mustWrite(t, path, first+"\n"+rest)
		}},
		{"by its name", func(t *testing.T, path string) { must(t, os.Rename(path, path+".zst")) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			must(t, mustOpen(t, options(dir)).Close())
			c.change(t, segmentsOf(t, dir)[0].path)
			newer := func(what string, err error) {
				t.Helper()
				if !errors.As(err, new(newerError)) || !strings.Contains(err.Error(), "written by a newer version") {
					t.Errorf("%s: %v", what, err)
				}
			}
			_, err := Open(options(dir))
			newer("starting", err)
			_, err = Search(filepath.Join(dir, "r1"), Query{}, func(*Found) error { return nil })
			newer("searching", err)
			reports, _, err := VerifyAll([]string{filepath.Join(dir, "r1")}, VerifyOptions{})
			if err != nil {
				newer("verifying", err)
			} else if len(reports[0].Findings) == 0 {
				t.Error("verifying: nothing was found")
			}
		})
	}
}

// Evidence of before there were formats verifies, is searched, and goes on in a new file.
// testdata/format1 was written by such a version.
func TestEvidenceOfFormat1GoesOn(t *testing.T) {
	dir := t.TempDir()
	must(t, os.CopyFS(dir, os.DirFS(filepath.Join("testdata", "format1"))))
	if r := sound(t, dir); r.Records != 6 || r.Checkpoints != 4 || r.Signed != 6 || r.Replica != "r1" {
		t.Errorf("%+v", r)
	}
	day := time.Date(2026, 11, 28, 0, 0, 0, 0, time.UTC)
	if all, s := find(t, dir, Query{From: day.Add(-24 * time.Hour), To: day}); ids(all) != "old-1" || len(s.Findings) > 0 {
		t.Errorf("%q, %+v", ids(all), s)
	}
	o := options(dir)
	o.Now = func() time.Time { return day.Add(23*time.Hour + 59*time.Minute + 30*time.Second) } // the day of the last file
	l := mustOpen(t, o)
	if s := l.Status(); s.Missing != "" {
		t.Error(s.Missing)
	}
	l.Done(finished("new"))
	must(t, l.Close())
	if r := sound(t, dir); r.Records != 10 || r.Segments != 3 {
		t.Errorf("%+v", r)
	}
	if all, _ := find(t, dir, Query{}); ids(all) != "old-1 old-2 new" {
		t.Errorf("%q", ids(all))
	}
}
