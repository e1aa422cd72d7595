package audit

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// at opens, uses and closes a chain on a day.
func at(t *testing.T, dir string, day string, id string) {
	t.Helper()
	now, err := time.Parse(time.DateOnly, day)
	must(t, err)
	o := options(dir)
	o.Now = func() time.Time { return now.Add(12 * time.Hour) }
	l := mustOpen(t, o)
	r := finished(id)
	r.Start = o.Now()
	l.Done(r)
	mustClose(t, l)
}

func keep(t *testing.T, dir, day string) int {
	t.Helper()
	now, err := time.Parse(time.DateOnly, day)
	must(t, err)
	o := options(dir)
	o.Now = func() time.Time { return now.Add(time.Minute) }
	n, err := Keep(o)
	must(t, err)
	return n
}

func TestSegmentsAreKeptUntilTheLegalEndAndDroppedWithoutBreakingTheChain(t *testing.T) {
	dir := t.TempDir()
	at(t, dir, "2026-03-01", "a")
	at(t, dir, "2026-12-31", "b")
	at(t, dir, "2027-01-01", "c")
	if n := keep(t, dir, "2037-01-01"); n != 0 {
		t.Errorf("%d were dropped too early", n)
	}
	if got := forms(t, dir); got != "cccp" { // so those that are dropped are compressed
		t.Error(got)
	}
	if n := keep(t, dir, "2037-01-02"); n != 2 {
		t.Errorf("%d were dropped", n)
	}
	sound(t, dir)
	text := whole(t, dir)
	if strings.Contains(text, `"requestId":"a"`) || strings.Contains(text, `"requestId":"b"`) ||
		!strings.Contains(text, `"requestId":"c"`) {
		t.Error(text)
	}
	at(t, dir, "2037-01-03", "d")
	sound(t, dir)

	// Without the signed record of the drop the beginning is missing.
	for _, s := range mustSegments(t, dir)[1:] {
		for _, path := range []string{s.path, s.path + compressedSuffix} { // the gateway may have ended between the two
			if err := os.Remove(path); err != nil && (path == s.path || !errors.Is(err, fs.ErrNotExist)) {
				t.Fatal(err)
			}
		}
	}
	mustRemove(t, beside(dir))
	r := verify(t, dir, VerifyOptions{})
	if len(r.Findings) != 1 || !strings.Contains(r.Findings[0].What, "no signed record says that it was dropped") {
		t.Errorf("%v", r.Findings)
	}
}

func TestADropThatWasInterruptedGoesOn(t *testing.T) {
	dir := t.TempDir()
	at(t, dir, "2026-03-01", "a")
	at(t, dir, "2026-04-01", "b")
	at(t, dir, "2026-05-01", "c")
	before := make(map[string][]byte)
	for _, s := range mustSegments(t, dir) {
		text := mustRead(t, s.path)
		before[s.path] = text
	}
	keep(t, dir, "2037-06-01")
	sound(t, dir)
	// The process died between the record of the drop and the removal of the file.
	for path, text := range before {
		if strings.Contains(path, "20260401") || strings.Contains(path, "20260501") {
			mustWrite(t, path, text)
		}
	}
	sound(t, dir)
	if n := keep(t, dir, "2037-06-02"); n != 2 {
		t.Errorf("%d were dropped", n)
	}
	sound(t, dir)
}

// A gateway that runs drops what is over beside its traffic, and with it the checkpoints of
// those years: their files would grow without end.
func TestCheckpointsGoWithTheYearsThatTheyCover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		at(t, dir, "2026-03-01", "a")
		at(t, dir, "2026-04-01", "b")
		at(t, dir, "2027-01-01", "c")
		o := options(dir)
		ahead := time.Until(time.Date(2037, 1, 2, 0, 0, 0, 0, time.UTC))
		o.Now = func() time.Time { return time.Now().Add(ahead) }
		l := mustOpen(t, o)
		record := func(id string) {
			r := finished(id)
			r.Start = o.Now()
			l.Done(r)
			time.Sleep(2 * time.Minute)
		}
		record("d")
		if text := whole(t, dir); !strings.Contains(text, `"requestId":"a"`) {
			t.Error("dropped at once, whatever the clock says")
		}
		time.Sleep(tendEvery)
		record("e")
		files, err := filepath.Glob(filepath.Join(dir, "r1", checkpointsPrefix+"*"))
		if err != nil || len(files) != 2 || !strings.Contains(files[0], "2027") || !strings.Contains(files[1], "2037") {
			t.Errorf("%v, %v", files, err)
		}
		if text := whole(t, dir); strings.Contains(text, `"requestId":"b"`) || !strings.Contains(text, `"requestId":"c"`) {
			t.Error(text)
		}
		sound(t, dir)
		mustClose(t, l)
		sound(t, dir)
	})
}

// The day in a segment's name is that of a clock that may have been wrong; the records
// say it too.
func TestAWrongClockAtTheStartDropsNothing(t *testing.T) {
	dir := t.TempDir()
	clock := time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC)
	o := options(dir)
	o.Now = func() time.Time { return clock }
	l := mustOpen(t, o)
	r := finished("a")
	r.Start = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	l.Done(r)
	for l.Status().Waiting > 0 {
		time.Sleep(time.Millisecond)
	}
	dir = crashed(t, dir)
	if n := keep(t, dir, "2026-03-02"); n != 0 {
		t.Errorf("%d were dropped", n)
	}
}

// crashed is a copy of a chain as it is at this moment, as if its process had died.
func crashed(t *testing.T, dir string) string {
	t.Helper()
	copied := t.TempDir()
	mustCopy(t, dir, copied)
	return copied
}
