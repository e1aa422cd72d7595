package audit_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ebox-gateway/internal/audit"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/testkit"
)

// The directory is looked at with each checkpoint, also where nothing is written.
func TestADirectoryThatIsRemovedOrReplacedUnderTheGatewayIsNoticed(t *testing.T) {
	type loss struct {
		busy, whole bool // no record is missing: the chain verifies, and its gap record tells
		tamper      func(t testing.TB, dir string)
	}
	testkit.Table(t, map[string]loss{
		"removed, idle": {false, false, mustRemove},
		"removed, busy": {true, false, mustRemove},
		"replaced by a copy": {false, true, func(t testing.TB, dir string) {
			testkit.Must(t, os.CopyFS(dir+"x", os.DirFS(dir)))
			mustRemove(t, dir)
			testkit.Must(t, os.Rename(dir+"x", dir))
		}},
		"its segment removed": {true, false, func(t testing.TB, dir string) {
			mustRemove(t, segmentsOf(t, filepath.Dir(dir))[0])
		}},
		"its segment cut": {false, false, func(t testing.TB, dir string) {
			testkit.Must(t, os.Truncate(segmentsOf(t, filepath.Dir(dir))[0], 100))
		}},
	}, func(t *testing.T, c loss) {
		dir, l := opened(t, func(o *audit.Options) { o.StopAfter = config.StopAfter(5 * time.Minute) })
		l.Done(finished("before"))
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		c.tamper(t, l.Dir())
		if c.busy {
			l.Done(finished("after"))
		}
		time.Sleep(90 * time.Second)
		if s := l.Status(); s.Missing == "" || s.LastGap.IsZero() || l.Refused() {
			t.Errorf("after a minute: %+v", l.Status())
		}
		time.Sleep(5 * time.Minute)
		if !l.Refused() {
			t.Error("requests are served for longer than StopAfter")
		}
		l.Done(finished("later"))
		testkit.Must(t, l.Close())
		if text := whole(t, dir); !strings.Contains(text, `"later"`) {
			t.Errorf("the chain does not go on: %s", text)
		}
		if r := verify(t, dir, audit.VerifyOptions{}); (len(r.Findings) == 0) != c.whole || r.Gaps != 1 {
			t.Errorf("%d gaps, %v", r.Gaps, r.Findings)
		}
	})
}

// A start where evidence was looks into the shipped checkpoints before it begins anew.
func TestAStartWithoutItsEvidenceIsSaid(t *testing.T) {
	dir := t.TempDir()
	shipped := filepath.Join(t.TempDir(), "shipped.jsonl")
	f, err := os.Create(shipped)
	testkit.Must(t, err)
	defer f.Close()
	o := options(dir)
	o.Ship, o.Shipped, o.StopAfter = f, shipped, 0
	testkit.Must(t, mustOpen(t, o).Close())
	again := mustOpen(t, o) // in order
	if s := again.Status(); s.Missing != "" {
		t.Fatal(s.Missing)
	}
	testkit.Must(t, again.Close())
	for _, file := range append(segmentsOf(t, dir), beside(dir)) { // the keys stay
		mustRemove(t, file)
	}
	l := mustOpen(t, o)
	if s := l.Status(); !strings.Contains(s.Missing, "went to record 5 ") || !l.Refused() {
		t.Errorf("%+v", s)
	}
	testkit.Must(t, l.Close())
	if got := kindsIn(t, dir); !strings.HasPrefix(got, "gap start") || parsed(t, lines(t, dir)[0]).Seq != 6 {
		t.Errorf("no number comes twice: %s", whole(t, dir))
	}
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
