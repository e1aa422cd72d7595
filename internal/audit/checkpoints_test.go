package audit

import (
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// What a crash or a full disk leaves of a line in the file beside the chain would make
// the next one unreadable, and an honest chain look changed.
func TestHalfACheckpointIsNotTakenForTampering(t *testing.T) {
	t.Run("the process died", func(t *testing.T) {
		dir := t.TempDir()
		must(t, mustOpen(t, options(dir)).Close())
		mustWrite(t, beside(dir), mustRead(t, beside(dir))+`{"seq":3,"prev":"00`)
		sound(t, dir)
		must(t, mustOpen(t, options(dir)).Close())
		if r := sound(t, dir); r.Checkpoints != 4 {
			t.Errorf("%d checkpoints", r.Checkpoints)
		}
	})
	t.Run("the disk is full", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			disk := &faulty{only: checkpointsPrefix}
			dir, l := failing(t, disk, func(*Options) {})
			for _, fails := range []error{syscall.ENOSPC, nil} {
				disk.set(failure{write: fails})
				l.Done(finished("r"))
				time.Sleep(2 * time.Minute)
				if got := l.Status().Shipping != ""; got != (fails != nil) {
					t.Errorf("failing: %v", got)
				}
			}
			must(t, l.Close())
			if r := sound(t, dir); r.Checkpoints != 4 {
				t.Errorf("%d checkpoints", r.Checkpoints)
			}
		})
	})
}

// The file beside the chain is read along with it, and the findings say where.
func TestCheckpointsBesideTheChainThatWereChanged(t *testing.T) {
	dir, foreign := t.TempDir(), t.TempDir()
	for range 3 {
		must(t, mustOpen(t, options(dir)).Close())
	}
	must(t, mustOpen(t, options(foreign)).Close())
	path := beside(dir)
	text, other := mustRead(t, path), mustRead(t, beside(foreign))
	line := strings.SplitAfter(text, "\n")
	for _, c := range []struct{ name, text, want string }{
		{"one is missing", strings.Replace(text, line[2], "", 1), ""},
		{"two changed places", line[1] + line[0] + strings.Join(line[2:], ""),
			":2: seq 2: this checkpoint is out of order: it follows that of seq 3"},
		{"one was changed", strings.Replace(text, `\n3\n`, `\n4\n`, 1), ":2: seq 4: this checkpoint does not verify"},
		{"one is another chain's", text + other, ":7: seq 2: this checkpoint does not verify"},
		{"nothing of it is what it was", strings.Repeat("x\n", 200), ":200: this line is no checkpoint"},
	} {
		t.Run(c.name, func(t *testing.T) {
			mustWrite(t, path, c.text)
			r := verify(t, dir, VerifyOptions{})
			if c.want != "" && !contains(r.Findings, c.want) || (c.want == "") != (len(r.Findings) == 0) || r.Records != 7 {
				t.Errorf("%d records, %d more, %v", r.Records, r.More, r.Findings)
			}
		})
	}
}

// Collectors of logs put lines out of order, may hand one out twice, and compress them.
func TestShippedCheckpointsMayBeOutOfOrderAndCompressed(t *testing.T) {
	dir := plain(t, 40, 2000)
	all := strings.SplitAfter(mustRead(t, beside(dir)), "\n")
	all = append(all[:len(all)-1], all[1])
	slices.Reverse(all)
	shipped := filepath.Join(t.TempDir(), "shipped.jsonl.gz")
	mustWrite(t, shipped, zipped(t, strings.Join(all, "")))
	o := VerifyOptions{Checkpoints: []string{shipped}}
	if r := verify(t, dir, o); len(r.Findings) > 0 || r.Checkpoints != len(all)-1 {
		t.Errorf("%d of %d were compared: %v", r.Checkpoints, len(all)-1, r.Findings)
	}
	segments := segmentsOf(t, dir)
	mustRemove(t, segments[len(segments)-1].path)
	mustRemove(t, beside(dir))
	if r := verify(t, dir, o); len(r.Findings) != 1 || !contains(r.Findings, "the end of the chain was cut off") {
		t.Error(r.Findings)
	}
}
