package audit

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// victim is a process that writes evidence until it is killed: for each write it says
// "sent" once the intent has returned, and reads come one each millisecond.
func victim(dir string) {
	o := options(dir)
	o.SegmentSize = 50_000 // so that it is killed while it compresses, often enough
	l, err := Open(o)
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
		r := finished("r" + id)
		l.Done(r)
		fmt.Println("read", r.ID, r.Start.UnixNano())
		time.Sleep(time.Millisecond)
	}
}

// A process that is killed loses no intent of a write that it went on to send, at most
// a second of reads, and the chain says that it may have.
func TestAProcessThatIsKilled(t *testing.T) {
	self, err := os.Executable()
	must(t, err)
	dir := t.TempDir()
	for round := range 2 {
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), "AUDIT_TEST_VICTIM="+dir)
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		var sent []string
		read := make(map[string]time.Time)
		var first, killed time.Time
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			f := strings.Fields(lines.Text())
			switch f[0] {
			case "sent":
				sent = append(sent, f[1])
			case "read":
				ns, _ := strconv.ParseInt(f[2], 10, 64)
				read[f[1]] = time.Unix(0, ns)
				if first.IsZero() {
					first = read[f[1]]
				}
			default:
				t.Fatal(lines.Text())
			}
			if killed.IsZero() && time.Since(first) > 1300*time.Millisecond && len(read) > 100 {
				killed = time.Now()
				must(t, cmd.Process.Kill())
			}
		}
		_ = cmd.Wait() // it was killed

		// As it was left, before anything is finished.
		for _, f := range verify(t, dir, VerifyOptions{}).Findings {
			if !strings.Contains(f.What, "ends within a record") {
				t.Error(f)
			}
		}
		text := whole(t, dir)
		for _, id := range sent {
			if !strings.Contains(text, `"requestId":"`+id+`"`) {
				t.Errorf("the write %s was sent and its intent is not there", id)
			}
		}
		for id, at := range read {
			if killed.Sub(at) > time.Second && !strings.Contains(text, `"requestId":"`+id+`"`) {
				t.Errorf("the read %s of %s before the end is not there", id, killed.Sub(at))
			}
		}
		l := mustOpen(t, options(dir))
		mustClose(t, l)
		report := sound(t, dir)
		if report.Gaps != round+1 {
			t.Errorf("%d gaps after %d kills", report.Gaps, round+1)
		}
	}
	// What was being compressed is finished, and nothing but the chain is left.
	if _, err := Keep(options(dir)); err != nil {
		t.Fatal(err)
	}
	if got := forms(t, dir); len(got) < 5 || got != strings.Repeat("c", len(got)-1)+"p" {
		t.Error(got)
	}
	sound(t, dir)
}

func mustSegments(t testing.TB, dir string) []segment {
	t.Helper()
	list, err := listSegments(filepath.Join(dir, "r1"))
	must(t, err)
	return list
}

func listSegments(dir string) ([]segment, error) {
	files, err := filesOf(dir)
	return files.segments, err
}

// whole is the text of a chain.
func whole(t testing.TB, dir string) string {
	t.Helper()
	var all strings.Builder
	for _, s := range mustSegments(t, dir) {
		all.Write(textOf(t, s))
	}
	return all.String()
}

// What a crash can leave at the end of a file is set aside, and the chain goes on
// behind the last whole record.
func TestTheTornEndOfACrashIsSetAside(t *testing.T) {
	for _, c := range []struct {
		name string
		tear func(text string) string
		want string // the kinds afterwards
	}{
		{"half a line", func(s string) string { return s[:len(s)-40] }, "start read read gap start stop"},
		{"a line without its break", func(s string) string { return s[:len(s)-1] }, "start read read gap start stop"},
		{"zeros, as a file system leaves them", func(s string) string { return s + strings.Repeat("\x00", 5000) },
			"start read read stop gap start stop"},
		{"a line of rubbish", func(s string) string { return s + "rubbish\n" }, "start read read stop gap start stop"},
		{"nothing", func(s string) string { return s }, "start read read stop start stop"},
		{"nothing but a first line that was never finished", func(string) string { return `{"seq":1,"pr` }, "gap start stop"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			l := mustOpen(t, options(dir))
			l.Done(finished("r1"))
			l.Done(finished("r2"))
			mustClose(t, l)
			path := mustSegments(t, dir)[0].path
			text := c.tear(whole(t, dir))
			mustWrite(t, path, []byte(text))
			// The signed records that were torn off had been handed out in this test; a
			// crash tears off only what was not synced, and so never handed out.
			mustRemove(t, beside(dir))
			mustClose(t, mustOpen(t, options(dir)))
			sound(t, dir)
			if got := kindsIn(t, dir); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
			torn, err := filepath.Glob(filepath.Join(dir, "r1", "torn-*"))
			if err != nil || len(torn) != 1 && c.name != "nothing" {
				t.Fatalf("%v, %v", torn, err)
			}
			if c.name == "nothing" {
				return
			}
			aside, err := os.ReadFile(torn[0])
			if err != nil || !strings.HasSuffix(text, string(aside)) || len(aside) == 0 {
				t.Errorf("%v: %q", err, aside)
			}
			if !strings.Contains(whole(t, dir), filepath.Base(torn[0])) {
				t.Error("the gap record does not name it")
			}
		})
	}
}

func TestAnotherKeyGoesOnWithTheChain(t *testing.T) {
	dir := t.TempDir()
	mustClose(t, mustOpen(t, options(dir)))
	mustRename(t, filepath.Join(dir, "r1", keyName), filepath.Join(dir, "old.key"))
	mustClose(t, mustOpen(t, options(dir)))
	sound(t, dir)
	old, err := LoadKey(filepath.Join(dir, "old.key"))
	must(t, err)
	if r := verify(t, dir, VerifyOptions{Keys: []ed25519PublicKey{old.Public()}}); len(r.Findings) == 0 {
		t.Error("the first key alone verifies what the second has signed")
	}
}

// The disk takes the name of a segment and then nothing until the next day, in a gateway that runs
// on or is started anew: an empty file would look as if its records had been removed.
func TestNoEmptySegmentIsLeftOverADayChange(t *testing.T) {
	for name, restart := range map[string]bool{"it runs on": false, "it is started anew": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir, disk := t.TempDir(), &faulty{only: segmentPrefix}
				o := options(dir)
				o.OpenFile = disk.openFile
				var ahead atomic.Int64
				o.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
				l := openPlain(t, o)
				ahead.Add(int64(24 * time.Hour)) // the first record of this day begins a segment
				disk.set(nil, syscall.ENOSPC, nil)
				l.Done(finished("a"))
				time.Sleep(time.Minute)
				if s := mustSegments(t, dir); len(s) != 2 || s[1].size != 0 {
					t.Fatalf("no empty segment to leave: %+v", s)
				}
				if restart {
					_ = l.Close() // the record is lost
				}
				ahead.Add(int64(24 * time.Hour))
				disk.set(nil, nil, nil)
				if restart {
					l = openPlain(t, o)
				}
				time.Sleep(time.Minute)
				mustClose(t, l)
				if r := sound(t, dir); r.Segments != 2 {
					t.Errorf("%d segments: %s", r.Segments, kindsIn(t, dir))
				}
			})
		})
	}
}
