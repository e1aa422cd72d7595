package audit

import (
	"os"
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
		mustClose(t, mustOpen(t, options(dir)))
		path := beside(dir)
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
		must(t, err)
		if _, err := f.WriteString(`{"seq":3,"prev":"00`); err != nil {
			t.Fatal(err)
		}
		must(t, f.Close())
		sound(t, dir)
		mustClose(t, mustOpen(t, options(dir)))
		if r := sound(t, dir); r.Checkpoints != 4 {
			t.Errorf("%d checkpoints", r.Checkpoints)
		}
	})
	t.Run("the disk is full", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			dir, disk := t.TempDir(), &faulty{only: checkpointsPrefix}
			o := options(dir)
			o.OpenFile = disk.openFile
			l := mustOpen(t, o)
			for _, failure := range []error{syscall.ENOSPC, nil} {
				disk.set(nil, failure, nil)
				l.Done(finished("r"))
				time.Sleep(2 * time.Minute)
				if got := l.Status().Shipping != ""; got != (failure != nil) {
					t.Errorf("failing: %v", got)
				}
			}
			mustClose(t, l)
			if r := sound(t, dir); r.Checkpoints != 4 {
				t.Errorf("%d checkpoints", r.Checkpoints)
			}
		})
	})
}

// The file beside the chain is read along with it, and the findings say where.
func TestCheckpointsBesideTheChainThatWereChanged(t *testing.T) {
	dir := t.TempDir()
	for range 3 {
		mustClose(t, mustOpen(t, options(dir)))
	}
	path := beside(dir)
	text := mustRead(t, path)
	line := strings.SplitAfter(string(text), "\n")
	foreign := t.TempDir()
	mustClose(t, mustOpen(t, options(foreign)))
	other := mustRead(t, beside(foreign))
	for _, c := range []struct{ name, text, want string }{
		{"one is missing", strings.Replace(string(text), line[2], "", 1), ""},
		{"two changed places", line[1] + line[0] + strings.Join(line[2:], ""),
			":2: seq 2: this checkpoint is out of order: it follows that of seq 3"},
		{"one was changed", strings.Replace(string(text), `\n3\n`, `\n4\n`, 1), ":2: seq 4: this checkpoint does not verify"},
		{"one is another chain's", string(text) + string(other), ":7: seq 2: this checkpoint does not verify"},
		{"nothing of it is what it was", strings.Repeat("x\n", 200), ":200: this line is no checkpoint"},
	} {
		t.Run(c.name, func(t *testing.T) {
			mustWrite(t, path, []byte(c.text))
			r := verify(t, dir, VerifyOptions{})
			all := ""
			for _, f := range r.Findings {
				all += f.String() + "\n"
			}
			if !strings.Contains(all, c.want) || (c.want == "") != (all == "") || r.Records != 7 {
				t.Errorf("%d records, %d more, %s", r.Records, r.More, all)
			}
		})
	}
}
