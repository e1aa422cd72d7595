package audit

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"ebox-gateway/internal/testkit"
)

// Segments end with their size and their day.
func TestCompressingEndedSegmentsLeavesTheChainAsItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		o := options(dir)
		o.SegmentSize = 4000
		l := mustOpen(t, o)
		for i := range 20 {
			l.Done(finished(fmt.Sprintf("r%d", i)))
			time.Sleep(time.Second)
		}
		synctest.Wait()
		if got := forms(t, dir); len(got) < 4 || got != allButTheLast(got) {
			t.Errorf("while it runs: %s", got)
		}
		before := segmentsOf(t, dir)
		for _, s := range before {
			info, err := os.Stat(s.path)
			if err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s: %v, %v", s.path, info.Mode(), err)
			}
		}
		time.Sleep(24 * time.Hour)
		l.Done(finished("of the next day"))
		testkit.Must(t, l.Close())
		after := segmentsOf(t, dir)
		if len(after) != len(before)+1 || !after[len(before)].day.After(before[0].day) {
			t.Errorf("%v after %v", after, before)
		}
		report := sound(t, dir)
		if report.Segments != len(after) || report.Compressed < len(before)-1 || report.Signed != report.Last {
			t.Errorf("%+v", report)
		}
		if all, s := find(t, dir, Query{Caller: "hr"}); len(all) != 21 || len(s.Findings) > 0 {
			t.Errorf("%d found, %v", len(all), s.Findings)
		}
		testkit.Must(t, mustOpen(t, o).Close())
		sound(t, dir)
	})
}

// Whenever the process ends, one whole copy is there: the chain verifies as it was
// left, and the next start finishes what was begun.
func TestCompressingThatWasInterruptedIsFinished(t *testing.T) {
	for name, left := range map[string]func(text []byte) (suffix string, content []byte){
		"while it wrote": func(text []byte) (string, []byte) {
			return compressedSuffix + unfinishedSuffix, text[:len(text)/2]
		},
		"before the old file was gone": func(text []byte) (string, []byte) { return compressedSuffix, text },
	} {
		t.Run(name, func(t *testing.T) {
			dir := plain(t, 20, 4000)
			text := whole(t, dir)
			first := segmentsOf(t, dir)[0].path
			suffix, content := left(zipped(t, testkit.Read(t, first)))
			testkit.Write(t, first+suffix, content)
			sound(t, dir)
			if whole(t, dir) != text {
				t.Error("there is another text")
			}
			_, err := Keep(options(dir))
			testkit.Must(t, err)
			if got := forms(t, dir); got != allButTheLast(got) || !strings.HasPrefix(whole(t, dir), text) {
				t.Error("it is not finished: ", got)
			}
			sound(t, dir)
		})
	}
}

// What cannot be compressed stays as it is until the next round; a gateway that ends does not
// wait for it.
func TestASegmentThatCannotBeCompressedStaysPlain(t *testing.T) {
	for name, fails := range map[string]func(disk *faulty, l *Log){
		"the disk is full":            func(disk *faulty, _ *Log) { disk.set(failure{write: syscall.ENOSPC}) },
		"a sync fails":                func(disk *faulty, _ *Log) { disk.set(failure{sync: syscall.EIO}) },
		"the new name is not on disk": func(disk *faulty, _ *Log) { disk.only = "r1"; disk.set(failure{sync: syscall.EIO}) },
		"the gateway ends":            func(_ *faulty, l *Log) { l.stop() },
	} {
		t.Run(name, func(t *testing.T) {
			dir, disk := plain(t, 20, 4000), &faulty{}
			before := forms(t, dir)
			o := options(dir)
			o.OpenFile = disk.openFile
			l, err := prepare(o)
			testkit.Must(t, err)
			fails(disk, l)
			l.compressEnded()
			if got := forms(t, dir); got != before {
				t.Errorf("%s after %s", got, before)
			}
			disk.set(failure{})
			l.end()
			testkit.Must(t, l.w.failure)
			_, err = Keep(o)
			testkit.Must(t, err)
			if got := forms(t, dir); got != allButTheLast(before) {
				t.Errorf("the next round: %s", got)
			}
			sound(t, dir)
		})
	}
}
