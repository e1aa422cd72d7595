package audit_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ebox-gateway/internal/audit"
	"ebox-gateway/internal/testkit"
)

// What a crash or a full disk leaves of a line in the file beside the chain would make
// the next one unreadable, and an honest chain look changed.
func TestHalfACheckpointIsNotTakenForTampering(t *testing.T) {
	dir := t.TempDir()
	testkit.Must(t, mustOpen(t, options(dir)).Close())
	testkit.Write(t, beside(dir), testkit.Read(t, beside(dir))+`{"seq":3,"prev":"00`)
	sound(t, dir)
	testkit.Must(t, mustOpen(t, options(dir)).Close())
	if r := sound(t, dir); r.Checkpoints != 4 {
		t.Errorf("%d checkpoints", r.Checkpoints)
	}
}

// receiver is whoever takes checkpoints off the machine.
type receiver struct{ fails atomic.Bool }

func (r *receiver) Write(b []byte) (int, error) {
	if r.fails.Load() {
		return 0, io.ErrClosedPipe
	}
	return len(b), nil
}

// One way fails and the other does not: the status says so until that way is well again.
func TestCheckpointsThatCannotBeHandedOutAreReported(t *testing.T) {
	var away receiver
	testkit.Table(t, map[string]func(t *testing.T, dir string, fails bool){
		"the file beside the chain": func(t *testing.T, dir string, fails bool) {
			file := filepath.Join(dir, "r1", "checkpoints-2000.jsonl")
			if fails {
				testkit.Must(t, os.MkdirAll(file, 0o700))
			} else {
				testkit.Must(t, os.Remove(file))
			}
		},
		"the receiver": func(_ *testing.T, _ string, fails bool) { away.fails.Store(fails) },
	}, func(t *testing.T, set func(t *testing.T, dir string, fails bool)) {
		dir := t.TempDir()
		o := options(dir)
		o.Ship = &away
		set(t, dir, true)
		l := mustOpen(t, o)
		for _, fails := range []bool{true, false} {
			set(t, dir, fails)
			for range 2 {
				l.Done(finished("r"))
				time.Sleep(2 * time.Minute)
				if got := l.Status().Shipping; (got != "") != fails {
					t.Errorf("failing: %q", got)
				}
			}
		}
		testkit.Must(t, l.Close())
		sound(t, dir)
	})
}

// The chain has all signatures itself, so that nothing stops; but whoever took the file has a
// reason, and the next start has nothing to compare the chain with. What else may become of a file is
// in package logfile.
func TestCheckpointsThatAreTakenUnderTheGatewayAreReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		o := options(dir)
		o.StopAfter = 0
		l := mustOpen(t, o)
		l.Done(finished("before"))
		time.Sleep(2 * time.Minute)
		mustRemove(t, beside(dir))
		for range 3 { // idle
			time.Sleep(90 * time.Second)
			if s := l.Status(); !strings.Contains(s.Shipping, "checkpoints-2000.jsonl was removed, replaced or cut") ||
				s.LastGap.IsZero() || l.Refused() {
				t.Errorf("%+v", s)
			}
		}
		testkit.Must(t, l.Close())
		if r := sound(t, dir); r.Gaps != 1 || !strings.Contains(r.Notes[0].What, "checkpoints-2000.jsonl was removed") {
			t.Errorf("%d gaps: %v", r.Gaps, r.Notes)
		}
		if s := mustOpen(t, o).Status(); s.Shipping != "" {
			t.Errorf("after a start: %q", s.Shipping)
		}
	})
}

// Collectors of logs put lines out of order, may hand one out twice, and compress them.
func TestShippedCheckpointsMayBeOutOfOrderAndCompressed(t *testing.T) {
	dir := plain(t, 40, 2000)
	all := strings.SplitAfter(testkit.Read(t, beside(dir)), "\n")
	all = append(all[:len(all)-1], all[1])
	slices.Reverse(all)
	shipped := filepath.Join(t.TempDir(), "shipped.jsonl.gz")
	testkit.Write(t, shipped, zipped(t, strings.Join(all, "")))
	o := audit.VerifyOptions{Checkpoints: []string{shipped}}
	if r := verify(t, dir, o); len(r.Findings) > 0 || r.Checkpoints != len(all)-1 {
		t.Errorf("%d of %d were compared: %v", r.Checkpoints, len(all)-1, r.Findings)
	}
	segments := segmentsOf(t, dir)
	mustRemove(t, segments[len(segments)-1])
	mustRemove(t, beside(dir))
	if r := verify(t, dir, o); len(r.Findings) != 1 ||
		!strings.Contains(fmt.Sprint(r.Findings), "the end of the chain was cut off") {
		t.Error(r.Findings)
	}
}
