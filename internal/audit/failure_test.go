package audit_test

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"ebox-gateway/internal/audit"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/testkit"
)

// A disk that fails in whatever way: records wait in memory, the chain goes on where it was, and
// nothing is there twice. Requests are refused as soon as that has lasted for longer than it may.
func TestADiskThatFailsCostsNoRecordAndStopsTrafficInTime(t *testing.T) {
	type failing struct {
		failure
		after       config.StopAfter
		first, late error // of an intent at once and after a minute
		refused     uint64
	}
	testkit.Table(t, map[string]failing{
		"it is full, and nothing stops": {failure{write: syscall.ENOSPC}, config.StopNever, nil, nil, 0},
		"a sync fails, and traffic stops after half a minute": {failure{sync: syscall.EIO},
			config.StopAfter(30 * time.Second), nil, audit.ErrNotRecorded, 1},
		"it became read-only, and traffic stops at once": {failure{open: syscall.EROFS, write: syscall.EROFS}, 0,
			audit.ErrNotRecorded, audit.ErrNotRecorded, 2},
	}, func(t *testing.T, c failing) {
		disk := &faulty{}
		dir, l := opened(t, disk.holds, func(o *audit.Options) { o.StopAfter = c.after })
		l.Done(finished("before"))
		time.Sleep(time.Second)
		disk.set(c.failure)
		write := func(when string, want error) {
			t.Helper()
			if err := l.Intent(t.Context(), write("w")); !errors.Is(err, want) || l.Refused() != (want != nil) {
				t.Errorf("%s: %v, refused: %v", when, err, l.Refused())
			}
		}
		write("at once", c.first)
		for range 5 {
			l.Done(finished("during"))
			time.Sleep(10 * time.Second)
		}
		if s := l.Status(); s.Failing == "" || s.Waiting != 6 {
			t.Errorf("%+v", s)
		}
		if c.sync == nil {
			sound(t, dir) // no half line is left meanwhile
		}
		write("after a minute", c.late)
		disk.set(failure{})
		time.Sleep(2 * time.Second)
		write("the disk is back", nil)
		if s := l.Status(); s.Failing != "" || s.Waiting != 0 || s.RefusedWrites != c.refused {
			t.Errorf("%+v", s)
		}
		testkit.Must(t, l.Close())
		sound(t, dir)
		want := "start read intent read read read read read intent stop"
		if c.late == nil {
			want = "start read intent read read read read read intent intent stop"
		}
		if got := kindsIn(t, dir); got != want {
			t.Error(got)
		}
	})
}

func TestADiskThatHangsHoldsAWriteForSecondsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &faulty{}
		dir, l := opened(t, disk.holds, func(o *audit.Options) { o.StopAfter = config.StopAfter(time.Hour) })
		release := disk.hangs()
		impatient, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for _, c := range []struct {
			name string
			ctx  context.Context
			err  error
			took time.Duration
		}{
			{"of a caller that went away", impatient, context.DeadlineExceeded, time.Second},
			{"the first", t.Context(), nil, patience},
			{"the second", t.Context(), nil, 0},
		} {
			began := time.Now()
			if err := l.Intent(c.ctx, write("w")); !errors.Is(err, c.err) || time.Since(began) != c.took {
				t.Errorf("%s: %v after %s", c.name, err, time.Since(began))
			}
		}
		if s := l.Status(); !strings.Contains(s.Failing, "has not answered") {
			t.Errorf("%+v", s)
		}
		release()
		time.Sleep(2 * time.Second)
		if s := l.Status(); s.Failing != "" || s.Waiting != 0 {
			t.Errorf("%+v", s)
		}
		// Reads alone, which wait for nothing, notice it as well.
		release = disk.hangs()
		l.SetStopAfter(0)
		l.Done(finished("r"))
		time.Sleep(time.Second)
		if l.Refused() {
			t.Error("refused while the disk is only slow")
		}
		time.Sleep(2 * patience)
		if !l.Refused() {
			t.Error("not refused by reads alone")
		}
		release()
		testkit.Must(t, l.Close())
		sound(t, dir)
	})
}

// A disk that hangs, and more traffic than the queue holds: what begins is refused from
// half of it on, what was under way by then still finds its place, and the chain has no
// gap.
func TestAFullQueueLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &faulty{}
		dir, l := opened(t, disk.holds, func(o *audit.Options) { o.StopAfter, o.Queue = config.StopAfter(time.Hour), 10 })
		disk.set(failure{write: syscall.ENOSPC})
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
		if err := l.Intent(t.Context(), w); err != nil || !w.Intent {
			t.Errorf("a write that was under way: %v", err)
		}
		late := write("late")
		if err := l.Intent(t.Context(), late); !errors.Is(err, audit.ErrNotRecorded) || late.Intent {
			t.Error("a write is sent whose intent found no place")
		}
		disk.set(failure{})
		time.Sleep(2 * time.Second)
		if s := l.Status(); s.Full || s.Refusing || s.Lost != 0 {
			t.Errorf("the disk is back: %+v", s)
		}
		testkit.Must(t, l.Close())
		if r := sound(t, dir); len(r.Notes) > 0 {
			t.Error(r.Notes)
		}
		if got := kindsIn(t, dir); got != "start read read read read read read read read read intent stop" {
			t.Error(got)
		}
	})
}

// With audit.stopAfter never, traffic goes on whatever is lost by it, and the chain says how much.
func TestAFullQueueStopsNothingIfNothingMayStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &faulty{}
		dir, l := opened(t, disk.holds, func(o *audit.Options) { o.Queue = 4 })
		disk.set(failure{write: syscall.ENOSPC})
		for i := range 8 {
			w := write("w")
			if err := l.Intent(t.Context(), w); err != nil || !w.Intent || l.Full() {
				t.Errorf("write %d: %v", i, err)
			}
			l.Done(finished("r"))
			time.Sleep(time.Second)
		}
		if s := l.Status(); s.Lost != 12 || s.Waiting != 4 || s.Refusing {
			t.Errorf("%+v", s)
		}
		disk.set(failure{})
		time.Sleep(2 * time.Second)
		testkit.Must(t, l.Close())
		if r := sound(t, dir); r.Gaps != 1 || !strings.Contains(r.Notes[0].What, "lost: 7 reads, 5 writes, 0 events") {
			t.Errorf("%v in %s", r.Notes, kindsIn(t, dir))
		}
	})
}

func TestWhatCannotBeOpenedIsAnErrorAtOnce(t *testing.T) {
	dir := t.TempDir()
	testkit.Write(t, dir+"/file", "")
	for name, wrong := range map[string]func(o *audit.Options){
		"a file in place of the directory": func(o *audit.Options) { o.Dir = dir + "/file" },
		"a key that is none":               func(o *audit.Options) { o.KeyFile = dir + "/file" },
		"a name with a slash":              func(o *audit.Options) { o.Replica = "../x" },
		"no name":                          func(o *audit.Options) { o.Replica = "" },
	} {
		o := options(dir)
		wrong(&o)
		if l, err := audit.Open(o); err == nil {
			t.Errorf("%s: it opened", name)
			_ = l.Close()
		}
	}
}
