package audit_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"ebox-gateway/internal/audit"
	"ebox-gateway/internal/testkit"
)

// ofVictim are the options of the victim and of who goes on behind it. Files are so small that it
// is killed while it compresses, often enough.
func ofVictim(dir string) audit.Options {
	o := options(dir)
	o.SegmentSize = 50_000
	return o
}

// victim is a process that writes evidence until it is killed, and says "sent" of each write once
// the intent has returned.
func victim(dir string) {
	l, err := audit.Open(ofVictim(dir))
	if err != nil {
		fmt.Println(err)
		return
	}
	for i := 1; ; i++ {
		id := fmt.Sprintf("%d-%d", os.Getpid(), i)
		if i%20 == 0 {
			if err := l.Intent(context.Background(), write("w"+id)); err != nil {
				fmt.Println(err)
				return
			}
			fmt.Println("sent w" + id)
		}
		l.Done(finished("r" + id))
	}
}

// A process that is killed loses no intent of a write that it went on to send, and the chain says
// that reads may be missing. What it was compressing is finished.
func TestAProcessThatIsKilled(t *testing.T) {
	self, err := os.Executable()
	testkit.Must(t, err)
	dir := t.TempDir()
	for round := range 2 {
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), "AUDIT_TEST_VICTIM="+dir)
		out, err := cmd.StdoutPipe()
		testkit.Must(t, err)
		testkit.Must(t, cmd.Start())
		var sent []string
		for said := bufio.NewScanner(out); said.Scan(); {
			id, ok := strings.CutPrefix(said.Text(), "sent ")
			if !ok {
				t.Error(said.Text())
			}
			if sent = append(sent, id); len(sent) == 50 {
				testkit.Must(t, cmd.Process.Kill())
			}
		}
		_ = cmd.Wait() // it was killed

		// As it was left, before anything is finished.
		for _, f := range verify(t, dir, audit.VerifyOptions{}).Findings {
			if !strings.Contains(f.What, "ends within a record") && !strings.Contains(f.What, "this file is empty") {
				t.Error(f)
			}
		}
		text := whole(t, dir)
		for _, id := range sent {
			if !strings.Contains(text, `"requestId":"`+id+`"`) {
				t.Errorf("the write %s was sent and its intent is not there", id)
			}
		}
		testkit.Must(t, mustOpen(t, ofVictim(dir)).Close())
		if r := sound(t, dir); r.Gaps != round+1 {
			t.Errorf("%d gaps after %d kills", r.Gaps, round+1)
		}
	}
	_, err = audit.Keep(ofVictim(dir))
	testkit.Must(t, err)
	if got := forms(t, dir); len(got) < 5 || got != allButTheLast(got) {
		t.Error(got)
	}
	sound(t, dir)
}

// What a crash can leave at the end of a file is set aside, and the chain goes on behind the last
// whole record. That file may be compressed, by whoever put the files away.
func TestTheTornEndOfACrashIsSetAside(t *testing.T) {
	for _, c := range []struct {
		name       string
		compressed bool
		tear       func(text string) string
		kinds      string // afterwards, as far as it is known
		findings   int
	}{
		{"half a line", false, func(s string) string { return s[:len(s)-40] }, "start read read gap start stop", 0},
		{"a line without its break", false, func(s string) string { return s[:len(s)-1] },
			"start read read gap start stop", 0},
		{"zeros, as a file system leaves them", false, func(s string) string { return s + strings.Repeat("\x00", 5000) },
			"start read read stop gap start stop", 0},
		{"nothing", false, func(s string) string { return s }, "start read read stop start stop", 0},
		{"nothing but a first line that was never finished", false, func(string) string { return `{"seq":1,"pr` },
			"gap start stop", 0},
		{"nothing of a compressed file", true, func(s string) string { return s }, "start read read stop start stop", 0},
		{"the end of a compressed file", true, func(s string) string { return s[:len(s)-200] }, "gap start stop", 1},
		{"all of a compressed file", true, func(string) string { return "rubbish" }, "gap start stop", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, l := opened(t)
			l.Done(finished("r1"))
			l.Done(finished("r2"))
			testkit.Must(t, l.Close())
			path := segmentsOf(t, dir)[0]
			text := testkit.Read(t, path)
			if c.compressed {
				mustRemove(t, path)
				path, text = path+".gz", zipped(t, text)
			}
			text = c.tear(text)
			testkit.Write(t, path, text)
			// The signed records that were torn off had been handed out in this test; a
			// crash tears off only what was not synced, and so never handed out.
			mustRemove(t, beside(dir))
			testkit.Must(t, mustOpen(t, options(dir)).Close())
			if r := verify(t, dir, audit.VerifyOptions{}); len(r.Findings) != c.findings {
				t.Error(r.Findings)
			}
			if got := kindsIn(t, dir); !strings.HasSuffix(got, c.kinds) {
				t.Errorf("%s, want %s", got, c.kinds)
			}
			aside := path // where it stays, if something in it can be read
			for _, torn := range globbed(t, dir, "r1", "torn-*") {
				aside = torn
				if left := testkit.Read(t, torn); !strings.HasSuffix(text, left) || left == "" {
					t.Errorf("%q", left)
				}
			}
			if gap := strings.Contains(whole(t, dir), `"setAside":["`+filepath.Base(aside)+`"]`); gap !=
				strings.Contains(c.kinds, "gap") {
				t.Errorf("a gap that names it: %v", gap)
			}
		})
	}
}

func TestAnotherKeyGoesOnWithTheChain(t *testing.T) {
	dir := t.TempDir()
	testkit.Must(t, mustOpen(t, options(dir)).Close())
	first := keysIn(t, dir)
	mustRemove(t, filepath.Join(dir, "r1", "signing.key"))
	testkit.Must(t, mustOpen(t, options(dir)).Close())
	sound(t, dir)
	if r := verify(t, dir, audit.VerifyOptions{Keys: first}); len(r.Findings) == 0 {
		t.Error("the first key alone verifies what the second has signed")
	}
}

// The disk takes the name of a segment and then nothing until the next day, in a gateway that runs
// on or is started anew: an empty file would look as if its records had been removed.
func TestNoEmptySegmentIsLeftOverADayChange(t *testing.T) {
	testkit.Table(t, map[string]bool{"it runs on": false, "it is started anew": true}, func(t *testing.T, restart bool) {
		dir, disk := t.TempDir(), &faulty{only: "evidence-"}
		o := options(dir)
		o.OpenFile = disk.openFile
		var ahead atomic.Int64
		o.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
		l := mustOpen(t, o)
		ahead.Add(int64(24 * time.Hour)) // the first record of this day begins a segment
		disk.set(failure{write: syscall.ENOSPC})
		l.Done(finished("a"))
		time.Sleep(time.Minute)
		if s := segmentsOf(t, dir); len(s) != 2 || testkit.Read(t, s[1]) != "" {
			t.Fatalf("no empty segment to leave: %v", s)
		}
		if restart {
			_ = l.Close() // the record is lost
		}
		ahead.Add(int64(24 * time.Hour))
		disk.set(failure{})
		if restart {
			l = mustOpen(t, o)
		}
		time.Sleep(time.Minute)
		testkit.Must(t, l.Close())
		if r := sound(t, dir); r.Segments != 2 {
			t.Errorf("%d segments: %s", r.Segments, kindsIn(t, dir))
		}
	})
}

// A version that does not know a file's format says so, and neither skips nor writes it.
func TestEvidenceOfANewerVersionIsAnError(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(t *testing.T, path string)
	}{
		{"by its first record", func(t *testing.T, path string) {
			first, rest, _ := strings.Cut(testkit.Read(t, path), "\n")
			content, _, _ := strings.Cut(strings.Replace(first, `"format":2`, `"format":3`, 1), `,"hash":"`)
			testkit.Write(t, path, hashed(content)+rest)
		}},
		{"by its name", func(t *testing.T, path string) { testkit.Must(t, os.Rename(path, path+".zst")) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			testkit.Must(t, mustOpen(t, options(dir)).Close())
			c.change(t, segmentsOf(t, dir)[0])
			newer := func(what string, err error) {
				t.Helper()
				if err == nil || !strings.Contains(err.Error(), "written by a newer version") {
					t.Errorf("%s: %v", what, err)
				}
			}
			_, err := audit.Open(options(dir))
			newer("starting", err)
			_, err = audit.Search(filepath.Join(dir, "r1"), audit.Query{}, func(*audit.Found) error { return nil })
			newer("searching", err)
			reports, _, err := audit.VerifyAll([]string{filepath.Join(dir, "r1")}, audit.VerifyOptions{})
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
	testkit.Must(t, os.CopyFS(dir, os.DirFS(filepath.Join("testdata", "format1"))))
	if r := sound(t, dir); r.Records != 6 || r.Checkpoints != 4 || r.Signed != 6 || r.Replica != "r1" {
		t.Errorf("%+v", r)
	}
	day := time.Date(2026, 11, 28, 0, 0, 0, 0, time.UTC)
	all, s := find(t, dir, audit.Query{From: day.Add(-24 * time.Hour), To: day})
	if ids(all) != "old-1" || len(s.Findings) > 0 {
		t.Errorf("%q, %+v", ids(all), s)
	}
	o := options(dir)
	o.Now = func() time.Time { return day.Add(23*time.Hour + 59*time.Minute + 30*time.Second) } // the day of the last file
	l := mustOpen(t, o)
	if s := l.Status(); s.Missing != "" {
		t.Error(s.Missing)
	}
	l.Done(finished("new"))
	testkit.Must(t, l.Close())
	if r := sound(t, dir); r.Records != 10 || r.Segments != 3 {
		t.Errorf("%+v", r)
	}
	if all, _ = find(t, dir, audit.Query{}); ids(all) != "old-1 old-2 new" {
		t.Errorf("%q", ids(all))
	}
}
