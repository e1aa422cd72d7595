package audit_test

import (
	"fmt"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"ebox-gateway/internal/audit"
	"ebox-gateway/internal/testkit"
)

// on are the options of a log at noon of a day.
func on(t *testing.T, dir, day string) audit.Options {
	t.Helper()
	now, err := time.Parse(time.DateOnly, day)
	testkit.Must(t, err)
	o := options(dir)
	o.Now = func() time.Time { return now.Add(12 * time.Hour) }
	return o
}

// at opens, uses and closes a chain on a day.
func at(t *testing.T, dir string, day string, id string) {
	t.Helper()
	o := on(t, dir, day)
	l := mustOpen(t, o)
	r := finished(id)
	r.Start = o.Now()
	l.Done(r)
	testkit.Must(t, l.Close())
}

func keep(t *testing.T, dir, day string) int {
	t.Helper()
	n, err := audit.Keep(on(t, dir, day))
	testkit.Must(t, err)
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
	second := segmentsOf(t, dir)[1]
	text := testkit.Read(t, second)
	if n := keep(t, dir, "2037-01-02"); n != 2 {
		t.Errorf("%d were dropped", n)
	}
	sound(t, dir)
	testkit.Write(t, second, text) // as if killed between the record of the drop and the removal of the file
	sound(t, dir)
	if n := keep(t, dir, "2037-01-02"); n != 1 {
		t.Errorf("%d were dropped of what was left of a drop", n)
	}
	at(t, dir, "2037-01-03", "d")
	sound(t, dir)
	all, _ := find(t, dir, audit.Query{})
	if got := ids(all); got != "c d" {
		t.Error(got)
	}

	// Without the signed record of the drop the beginning is missing.
	for _, s := range segmentsOf(t, dir)[1:] {
		plain := strings.TrimSuffix(s, ".gz")
		mustRemove(t, plain)
		mustRemove(t, plain+".gz") // the gateway may have ended between the two
	}
	mustRemove(t, beside(dir))
	r := verify(t, dir, audit.VerifyOptions{})
	if len(r.Findings) != 1 || !strings.Contains(fmt.Sprint(r.Findings), "no signed record says that it was dropped") {
		t.Errorf("%v", r.Findings)
	}
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
		time.Sleep(time.Hour)
		record("e")
		files := globbed(t, dir, "r1", "checkpoints*")
		if len(files) != 2 || !strings.Contains(files[0], "2027") || !strings.Contains(files[1], "2037") {
			t.Error(files)
		}
		if text := whole(t, dir); strings.Contains(text, `"requestId":"b"`) || !strings.Contains(text, `"requestId":"c"`) {
			t.Error(text)
		}
		sound(t, dir)
		testkit.Must(t, l.Close())
		sound(t, dir)
	})
}

// The segment stays then, and is tried again in an hour.
func TestNoDropIsSignedThatCannotBeWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, disk, log := t.TempDir(), &faulty{}, &testkit.Log{}
		at(t, dir, "2026-03-01", "a")
		at(t, dir, "2037-01-02", "b")
		o := on(t, dir, "2037-01-02")
		o.OpenFile, o.Log = disk.openFile, slog.New(slog.NewTextHandler(log, nil))
		l := mustOpen(t, o)
		disk.set(failure{write: syscall.ENOSPC})
		l.Done(finished("c"))
		time.Sleep(61 * time.Minute)
		if !strings.Contains(log.String(), "could not be dropped") {
			t.Errorf("nothing was tried: %s", log)
		}
		disk.set(failure{})
		testkit.Must(t, l.Close())
		if text := whole(t, dir); strings.Contains(text, `"kind":"dropped"`) || !strings.Contains(text, `"requestId":"a"`) {
			t.Error(text)
		}
	})
}

// The day in a segment's name is that of a clock that may have been wrong; the records
// say it too.
func TestAWrongClockAtTheStartDropsNothing(t *testing.T) {
	dir, copied := t.TempDir(), t.TempDir()
	l := mustOpen(t, on(t, dir, "1970-01-01"))
	r := finished("a")
	r.Start = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	l.Done(r)
	testkit.Eventually(t, "the disk", func() bool { return l.Status().Waiting == 0 })
	testkit.Must(t, os.CopyFS(copied, os.DirFS(dir))) // as if its process had been killed
	if n := keep(t, copied, "2026-03-02"); n != 0 {
		t.Errorf("%d were dropped", n)
	}
	at(t, copied, "1970-01-02", "b")
	if r := sound(t, copied); !strings.Contains(fmt.Sprint(r.Notes), "the clock was set back") {
		t.Errorf("verifying says nothing of the clock: %v", r.Notes)
	}
}
