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
