package audit_test

import (
	"fmt"
	"io/fs"
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

// Segments end with their size and their day.
func TestCompressingEndedSegmentsLeavesTheChainAsItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, l := opened(t, func(o *audit.Options) { o.SegmentSize = 4000 })
		for i := range 20 {
			l.Done(finished(fmt.Sprintf("r%d", i)))
			time.Sleep(time.Second)
		}
		synctest.Wait()
		if got := forms(t, dir); len(got) < 4 || got != allButTheLast(got) {
			t.Errorf("while it runs: %s", got)
		}
		before := segmentsOf(t, dir)
		for _, path := range before {
			info, err := os.Stat(path)
			testkit.Must(t, err)
			if info.Mode().Perm() != 0o600 {
				t.Errorf("%s: %v", path, info.Mode())
			}
		}
		time.Sleep(24 * time.Hour)
		l.Done(finished("of the next day"))
		testkit.Must(t, l.Close())
		after := segmentsOf(t, dir)
		if len(after) != len(before)+1 || !strings.Contains(after[len(before)], "evidence-20000102-") {
			t.Errorf("%v after %v", after, before)
		}
		report := sound(t, dir)
		if report.Segments != len(after) || report.Compressed < len(before)-1 || report.Signed != report.Last {
			t.Errorf("%+v", report)
		}
		if all, s := find(t, dir, audit.Query{Caller: "hr"}); len(all) != 21 || len(s.Findings) > 0 {
			t.Errorf("%d found, %v", len(all), s.Findings)
		}
		testkit.Must(t, mustOpen(t, options(dir)).Close())
		sound(t, dir)
	})
}

// Whenever the process ends, one whole copy is there: the chain verifies as it was
// left, and the next start finishes what was begun.
func TestCompressingThatWasInterruptedIsFinished(t *testing.T) {
	for name, left := range map[string]func(text string) (suffix, content string){
		"while it wrote":               func(text string) (string, string) { return ".gz.tmp", text[:len(text)/2] },
		"before the old file was gone": func(text string) (string, string) { return ".gz", text },
	} {
		t.Run(name, func(t *testing.T) {
			dir := plain(t, 20, 4000)
			text := whole(t, dir)
			first := segmentsOf(t, dir)[0]
			suffix, content := left(zipped(t, testkit.Read(t, first)))
			testkit.Write(t, first+suffix, content)
			sound(t, dir)
			if whole(t, dir) != text {
				t.Error("there is another text")
			}
			_, err := audit.Keep(options(dir))
			testkit.Must(t, err)
			if got := forms(t, dir); got != allButTheLast(got) || !strings.HasPrefix(whole(t, dir), text) {
				t.Error("it is not finished: ", got)
			}
			sound(t, dir)
		})
	}
}

// What cannot be compressed stays as it is, and is tried again within an hour.
func TestASegmentThatCannotBeCompressedStaysPlain(t *testing.T) {
	testkit.Table(t, map[string]*faulty{
		"the disk is full":            {only: ".gz", failure: failure{write: syscall.ENOSPC}},
		"a sync fails":                {only: ".gz", failure: failure{sync: syscall.EIO}},
		"the new name is not on disk": {only: "r1", failure: failure{sync: syscall.EIO}},
	}, func(t *testing.T, disk *faulty) {
		dir := plain(t, 20, 4000)
		before := forms(t, dir)
		var log testkit.Log
		o := options(dir)
		o.OpenFile, o.Log = disk.openFile, slog.New(slog.NewTextHandler(&log, nil))
		l := mustOpen(t, o)
		synctest.Wait()
		if got := forms(t, dir); got != before || !strings.Contains(log.String(), "could not be compressed") {
			t.Errorf("%s after %s: %s", got, before, &log)
		}
		disk.set(failure{})
		time.Sleep(61 * time.Minute)
		if got := forms(t, dir); got != allButTheLast(before) {
			t.Errorf("the next round: %s", got)
		}
		testkit.Must(t, l.Close())
		sound(t, dir)
	})
}

// The file that is being compressed stays plain then.
func TestAGatewayThatEndsDoesNotWaitForALargeFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := plain(t, 20, 4000)
		before := forms(t, dir)
		reached, goOn := make(chan struct{}), make(chan struct{})
		o := options(dir)
		o.OpenFile = func(name string, flag int, perm fs.FileMode) (audit.File, error) {
			if strings.HasSuffix(name, ".tmp") {
				close(reached)
				<-goOn
			}
			return os.OpenFile(name, flag, perm)
		}
		l := mustOpen(t, o)
		<-reached
		ended := make(chan error)
		go func() { ended <- l.Close() }()
		synctest.Wait()
		close(goOn)
		testkit.Must(t, <-ended)
		if got := forms(t, dir); got != before {
			t.Errorf("%s after %s", got, before)
		}
	})
}
