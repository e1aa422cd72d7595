package audit

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// A disk that fails in whatever way: records wait in memory, the chain goes on where
// it was, and nothing is there twice.
func TestAFailingDiskCostsNoRecord(t *testing.T) {
	for _, c := range []struct {
		name              string
		open, write, sync error
	}{
		{"it is full", nil, syscall.ENOSPC, nil},
		{"a sync fails", nil, nil, syscall.EIO},
		{"it became read-only", syscall.EROFS, syscall.EROFS, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir, disk := t.TempDir(), &faulty{}
				o := options(dir)
				o.OpenFile = disk.openFile
				l := mustOpen(t, o)
				l.Done(finished("before"))
				time.Sleep(time.Second)
				disk.set(c.open, c.write, c.sync)
				if err := l.Intent(context.Background(), write("w1")); err != nil {
					t.Errorf("evidence may be late here: %v", err)
				}
				for range 5 {
					l.Done(finished("during"))
					time.Sleep(time.Second)
				}
				if s := l.Status(); s.Failing == "" || s.Waiting != 6 || s.Refusing {
					t.Errorf("%+v", s)
				}
				if c.sync == nil {
					sound(t, dir) // no half line is left meanwhile
				}
				disk.set(nil, nil, nil)
				time.Sleep(2 * time.Second)
				if s := l.Status(); s.Failing != "" || s.Waiting != 0 {
					t.Errorf("%+v", s)
				}
				mustClose(t, l)
				sound(t, dir)
				if got := kindsIn(t, dir); got != "start read intent read read read read read stop" {
					t.Error(got)
				}
			})
		})
	}
}

func TestTrafficStopsWhenEvidenceFailsForTooLong(t *testing.T) {
	for _, c := range []struct {
		name        string
		after       time.Duration
		first, late error // of an intent at once and after a minute
	}{
		{"at once", 0, ErrNotRecorded, ErrNotRecorded},
		{"after half a minute", 30 * time.Second, nil, ErrNotRecorded},
		{"never", Never, nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir, disk := t.TempDir(), &faulty{}
				o := options(dir)
				o.OpenFile, o.StopAfter = disk.openFile, c.after
				l := mustOpen(t, o)
				disk.set(nil, nil, syscall.EIO)
				if err := l.Intent(context.Background(), write("w1")); !errors.Is(err, c.first) {
					t.Errorf("the first: %v", err)
				}
				if got := l.Refused(); got != (c.first != nil) {
					t.Errorf("refused at once: %v", got)
				}
				time.Sleep(time.Minute)
				if err := l.Intent(context.Background(), write("w2")); !errors.Is(err, c.late) {
					t.Errorf("after a minute: %v", err)
				}
				if got := l.Refused(); got != (c.late != nil) {
					t.Errorf("refused after a minute: %v", got)
				}
				disk.set(nil, nil, nil)
				time.Sleep(2 * time.Second)
				if err := l.Intent(context.Background(), write("w3")); err != nil || l.Refused() {
					t.Errorf("the disk is back: %v", err)
				}
				refused := uint64(0)
				for _, err := range []error{c.first, c.late} {
					if err != nil {
						refused++
					}
				}
				if got := l.Status().RefusedWrites; got != refused {
					t.Errorf("%d writes were refused, and %d counted", refused, got)
				}
				mustClose(t, l)
				sound(t, dir)
			})
		})
	}
}

func TestADiskThatHangsHoldsAWriteForSecondsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, disk := t.TempDir(), &faulty{}
		o := options(dir)
		o.OpenFile, o.StopAfter = disk.openFile, time.Hour
		l := mustOpen(t, o)
		release := disk.hangs()
		began := time.Now()
		if err := l.Intent(context.Background(), write("w1")); err != nil || time.Since(began) != patience {
			t.Errorf("%v after %s", err, time.Since(began))
		}
		began = time.Now()
		if err := l.Intent(context.Background(), write("w2")); err != nil || time.Since(began) != 0 {
			t.Errorf("the second: %v after %s", err, time.Since(began))
		}
		if s := l.Status(); !strings.Contains(s.Failing, "has not answered") {
			t.Errorf("%+v", s)
		}
		release()
		time.Sleep(2 * time.Second)
		if s := l.Status(); s.Failing != "" || s.Waiting != 0 {
			t.Errorf("%+v", s)
		}
		mustClose(t, l)
		sound(t, dir)
	})
}

// A disk that hangs, and more traffic than the queue holds: what begins is refused from
// half of it on, what was under way by then still finds its place, and the chain has no
// gap.
func TestAFullQueueLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, disk := t.TempDir(), &faulty{}
		o := options(dir)
		o.OpenFile, o.StopAfter, o.Queue = disk.openFile, time.Hour, 10
		l := mustOpen(t, o)
		disk.set(nil, syscall.ENOSPC, nil)
		for i := range 5 {
			if l.Full() {
				t.Errorf("full with %d records", i)
			}
			l.Done(finished("r"))
			time.Sleep(time.Second)
		}
		if s := l.Status(); !l.Full() || !s.Full || !s.Refusing || l.Refused() {
			t.Errorf("with half of the queue: %+v", s)
		}
		for range 4 { // reads that were under way
			l.Done(finished("r"))
		}
		w := write("w")
		if err := l.Intent(context.Background(), w); err != nil || !w.Intent {
			t.Errorf("a write that was under way: %v", err)
		}
		late := write("late")
		if err := l.Intent(context.Background(), late); !errors.Is(err, ErrNotRecorded) || late.Intent {
			t.Error("a write is sent whose intent found no place")
		}
		disk.set(nil, nil, nil)
		time.Sleep(2 * time.Second)
		if s := l.Status(); s.Full || s.Refusing || s.Lost != 0 {
			t.Errorf("the disk is back: %+v", s)
		}
		mustClose(t, l)
		if r := sound(t, dir); len(r.Notes) > 0 {
			t.Error(r.Notes)
		}
		if got := kindsIn(t, dir); got != "start read read read read read read read read read intent stop" {
			t.Error(got)
		}
	})
}

// With audit.stopAfter never, traffic goes on whatever is lost by it.
func TestAFullQueueStopsNothingIfNothingMayStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &faulty{}
		o := options(t.TempDir())
		o.OpenFile, o.Queue = disk.openFile, 4
		l := mustOpen(t, o)
		disk.set(nil, syscall.ENOSPC, nil)
		for i := range 8 {
			w := write("w")
			if err := l.Intent(context.Background(), w); err != nil || !w.Intent || l.Full() {
				t.Errorf("write %d: %v", i, err)
			}
			time.Sleep(time.Second)
		}
		if s := l.Status(); s.Lost != 4 || s.Refusing {
			t.Errorf("%+v", s)
		}
		disk.set(nil, nil, nil)
		mustClose(t, l)
	})
}

func TestReadsAloneNoticeADiskThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &faulty{}
		o := options(t.TempDir())
		o.OpenFile, o.StopAfter = disk.openFile, 0
		l := mustOpen(t, o)
		release := disk.hangs()
		l.Done(finished("r"))
		time.Sleep(time.Second)
		if l.Refused() {
			t.Error("refused while the disk is only slow")
		}
		time.Sleep(2 * patience)
		if !l.Refused() {
			t.Error("not refused")
		}
		release()
		mustClose(t, l)
	})
}

func TestACallerThatGoesAwayDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &faulty{}
		o := options(t.TempDir())
		o.OpenFile = disk.openFile
		l := mustOpen(t, o)
		release := disk.hangs()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := l.Intent(ctx, write("w")); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		release()
		mustClose(t, l)
	})
}

func TestWhatCannotBeOpenedIsToldAtOnce(t *testing.T) {
	dir := t.TempDir()
	mustWrite(t, dir+"/file", nil)
	for name, o := range map[string]Options{
		"a file in place of the directory": options(dir + "/file"),
		"a key that is none":               func() Options { o := options(dir); o.KeyFile = dir + "/file"; return o }(),
		"a name with a slash":              func() Options { o := options(dir); o.Replica = "../x"; return o }(),
		"no name":                          func() Options { o := options(dir); o.Replica = ""; return o }(),
	} {
		if l, err := Open(o); err == nil {
			t.Errorf("%s: it opened", name)
			_ = l.Close()
		}
	}
}
