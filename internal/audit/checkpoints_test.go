package audit

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ebox-gateway/internal/testkit"
)

// What a crash or a full disk leaves of a line in the file beside the chain would make
// the next one unreadable, and an honest chain look changed.
func TestHalfACheckpointIsNotTakenForTampering(t *testing.T) {
	dir := t.TempDir()
	must(t, mustOpen(t, options(dir)).Close())
	mustWrite(t, beside(dir), mustRead(t, beside(dir))+`{"seq":3,"prev":"00`)
	sound(t, dir)
	must(t, mustOpen(t, options(dir)).Close())
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

// One way fails and the other does not: the status says so until that way is well again, and
// what waited for the file is in it then.
func TestCheckpointsThatCannotBeHandedOutAreTold(t *testing.T) {
	var away receiver
	testkit.Table(t, map[string]func(t *testing.T, dir string, fails bool){
		"the file beside the chain": func(t *testing.T, dir string, fails bool) {
			file := filepath.Join(dir, "r1", checkpointsPrefix+"-2000"+segmentSuffix)
			if fails {
				must(t, os.MkdirAll(file, 0o700))
			} else {
				must(t, os.Remove(file))
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
		must(t, l.Close())
		if r := sound(t, dir); r.Checkpoints != 6 {
			t.Errorf("%d checkpoints", r.Checkpoints)
		}
	})
}

// The chain has all signatures itself, so that nothing stops; but whoever took the file has a
// reason, and the next start has nothing to compare the chain with.
func TestCheckpointsThatAreTakenUnderTheGatewayAreTold(t *testing.T) {
	type hour struct {
		busy  bool
		taken func(t *testing.T, file string)
	}
	removed := func(t *testing.T, file string) { mustRemove(t, file) }
	testkit.Table(t, map[string]hour{
		"removed, idle": {false, removed},
		"removed, busy": {true, removed},
		"replaced by a copy": {false, func(t *testing.T, file string) {
			text := mustRead(t, file)
			must(t, os.Rename(file, file+".tmp"))
			mustWrite(t, file, text)
		}},
		"cut": {false, func(t *testing.T, file string) { must(t, os.Truncate(file, 10)) }},
	}, func(t *testing.T, c hour) {
		dir := t.TempDir()
		o := options(dir)
		o.StopAfter = 0
		l := mustOpen(t, o)
		l.Done(finished("before"))
		time.Sleep(2 * time.Minute)
		c.taken(t, beside(dir))
		for range 3 {
			if c.busy {
				l.Done(finished("after"))
			}
			time.Sleep(90 * time.Second)
			if s := l.Status(); !strings.Contains(s.Shipping, "checkpoints-2000.jsonl was removed, replaced or cut") ||
				s.LastGap.IsZero() || l.Refused() {
				t.Errorf("%+v", s)
			}
		}
		must(t, l.Close())
		if r := sound(t, dir); r.Gaps != 1 || !strings.Contains(r.Notes[0].What, "checkpoints-2000.jsonl was removed") {
			t.Errorf("%d gaps: %v", r.Gaps, r.Notes)
		}
		again := mustOpen(t, o)
		if s := again.Status(); s.Shipping != "" {
			t.Errorf("after a start: %q", s.Shipping)
		}
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

// A checkpoint that can be read says no more than its note: made again of its parts, it is the same
// text.
func FuzzReadCheckpoint(f *testing.F) {
	for line := range strings.Lines(mustRead(f, beside(plain(f, 1, 64e6)))) {
		f.Add(strings.TrimSuffix(line, "\n"))
	}
	f.Add(`{"note":"ebox-gateway-evidence/r1\n1\n\n\n\n"}`)
	f.Add(mustRead(f, filepath.Join("testdata", "format1", "r1", "checkpoints.jsonl")))
	f.Fuzz(func(t *testing.T, text string) {
		c, err := readCheckpoint(raw{text: []byte(text)})
		if err != nil || c.note == "" {
			return
		}
		if !strings.HasPrefix(c.note, c.text()) || !validReplica(c.replica) {
			t.Errorf("%+v is not what %q says", c, c.note)
		}
	})
}
