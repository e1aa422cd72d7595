package audit

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// compressed is a chain of several segments, all but the last compressed.
func compressed(t testing.TB, n int, segmentSize int64) (dir string) {
	t.Helper()
	dir = t.TempDir()
	chainOf(t, dir, n, segmentSize)
	if _, err := Keep(options(dir)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// forms says of each segment whether it is plain (p) or compressed (c), and names files that
// should not be there.
func forms(t testing.TB, dir string) string {
	t.Helper()
	var all strings.Builder
	for _, s := range mustSegments(t, dir) {
		if s.compressed {
			all.WriteByte('c')
		} else {
			all.WriteByte('p')
		}
	}
	left, err := filepath.Glob(filepath.Join(dir, "r1", "*"+unfinishedSuffix))
	must(t, err)
	return all.String() + strings.Join(left, " ")
}

// zipped is what compressing some bytes gives.
func zipped(t testing.TB, text []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(text); err != nil {
		t.Fatal(err)
	}
	must(t, z.Close())
	return b.Bytes()
}

// Segments end with their size and their day.
func TestEndedSegmentsAreCompressedAndTheChainDoesNotNotice(t *testing.T) {
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
		if got := forms(t, dir); len(got) < 4 || got != strings.Repeat("c", len(got)-1)+"p" {
			t.Errorf("while it runs: %s", got)
		}
		for _, s := range mustSegments(t, dir) {
			info, err := os.Stat(s.path)
			if err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s: %v, %v", s.path, info.Mode(), err)
			}
		}
		before := mustSegments(t, dir)
		time.Sleep(24 * time.Hour)
		l.Done(finished("of the next day"))
		mustClose(t, l)
		after := mustSegments(t, dir)
		if len(after) != len(before)+1 || !after[len(before)].day.After(before[0].day) {
			t.Errorf("%v after %v", after, before)
		}
		report := sound(t, dir)
		if report.Segments != len(after) || report.Compressed < len(before)-1 || report.Signed != report.Last {
			t.Errorf("%+v", report)
		}
		all, s := find(t, dir, Query{Caller: "hr"})
		if len(all) != 21 || len(s.Findings) > 0 {
			t.Errorf("%d found, %v", len(all), s.Findings)
		}
		mustClose(t, mustOpen(t, o))
		sound(t, dir)
	})
}

// Whenever the process dies, one whole copy is there: the chain verifies as it was
// left, and the next start finishes what was begun.
func TestCompressingThatWasInterruptedIsFinished(t *testing.T) {
	for _, c := range []struct {
		name  string
		leave func(t *testing.T, plain string, text []byte)
	}{
		{"while it wrote", func(t *testing.T, plain string, text []byte) {
			half := zipped(t, text)
			mustWrite(t, plain+compressedSuffix+unfinishedSuffix, half[:len(half)/2])
		}},
		{"before the new file had its name", func(t *testing.T, plain string, text []byte) {
			mustWrite(t, plain+compressedSuffix+unfinishedSuffix, zipped(t, text))
		}},
		{"before the old file was gone", func(t *testing.T, plain string, text []byte) {
			mustWrite(t, plain+compressedSuffix, zipped(t, text))
		}},
		{"after all of it", func(t *testing.T, plain string, text []byte) {
			mustWrite(t, plain+compressedSuffix, zipped(t, text))
			mustRemove(t, plain)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				chainOf(t, dir, 20, 4000)
				text := whole(t, dir)
				first := mustSegments(t, dir)[0]
				c.leave(t, first.path, textOf(t, first))
				sound(t, dir)
				if got := whole(t, dir); got != text {
					t.Error("there is another text")
				}
				l := mustOpen(t, options(dir))
				time.Sleep(time.Second)
				synctest.Wait()
				if got := forms(t, dir); got != strings.Repeat("c", len(got)-1)+"p" {
					t.Error(got)
				}
				mustClose(t, l)
				sound(t, dir)
				if got := whole(t, dir); !strings.HasPrefix(got, text) {
					t.Error("there is another text")
				}
			})
		})
	}
}

func TestADiskThatCannotTakeTheCompressedFormKeepsThePlainOne(t *testing.T) {
	for _, c := range []struct {
		name        string
		write, sync error
	}{{"it is full", syscall.ENOSPC, nil}, {"a sync fails", nil, syscall.EIO}} {
		t.Run(c.name, func(t *testing.T) {
			dir, disk := t.TempDir(), &faulty{}
			chainOf(t, dir, 20, 4000)
			before := forms(t, dir)
			o := options(dir)
			o.OpenFile = disk.openFile
			l := openPlain(t, o)
			work := &keeper{l: l, told: make(map[string]string)}
			disk.set(nil, c.write, c.sync)
			work.compressEnded()
			if got := forms(t, dir); got != before || len(work.told) == 0 {
				t.Errorf("%s after %s, %v", got, before, work.told)
			}
			disk.set(nil, nil, nil)
			work.compressEnded()
			if got := forms(t, dir); got != strings.Repeat("c", len(before)-1)+"p" || len(work.told) != 0 {
				t.Errorf("%s, %v", got, work.told)
			}
			mustClose(t, l)
			sound(t, dir)
		})
	}
}

// unzipped is what can be read of a compressed file; nil if that is not all of it.
func unzipped(file []byte) []byte {
	z, err := gzip.NewReader(bytes.NewReader(file))
	if err != nil {
		return nil
	}
	text, err := io.ReadAll(z)
	if err != nil {
		return nil
	}
	return text
}

func TestTheFindingNamesWhereACompressedSegmentIsDamaged(t *testing.T) {
	dir := compressed(t, 40, 4000)
	second := mustSegments(t, dir)[1]
	original := mustRead(t, second.path)
	place := second.path + ":"
	for _, c := range []struct {
		name    string
		content []byte
		want    []string
	}{
		{"cut off", original[:len(original)-300], []string{"its end was cut off"}},
		{"without its checksum", original[:len(original)-8], []string{"its end was cut off"}},
		{"empty", nil, []string{":1: ", "its end was cut off"}},
		{"no gzip at all", []byte("rubbish rubbish"), []string{":1: ", "it was changed"}},
		{"something behind it", append(append([]byte(nil), original...), "rubbish rubbish"...), []string{"it was changed"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			mustWrite(t, second.path, c.content)
			r := verify(t, dir, VerifyOptions{})
			found := false
			for _, f := range r.Findings {
				ok := strings.HasPrefix(f.String(), place)
				for _, w := range c.want {
					ok = ok && strings.Contains(f.String(), w)
				}
				found = found || ok
			}
			if !found {
				t.Error(r.Findings)
			}
			// Of the other segments nothing is wrong but that the one before them is gone.
			if len(r.Findings) > 2 {
				t.Error(r.Findings)
			}
			if _, s := find(t, dir, Query{}); len(s.Findings) == 0 {
				t.Error("the search says nothing")
			}
		})
	}
}

// The last segment may be compressed, by whoever put the files away: the chain goes on
// behind it.
func TestAChainWhoseEndIsCompressedGoesOn(t *testing.T) {
	for _, c := range []struct {
		name     string
		damage   func([]byte) []byte
		findings int
	}{
		{"whole", func(b []byte) []byte { return b }, 0},
		{"cut off", func(b []byte) []byte { return b[:len(b)-200] }, 1},
		{"nothing of it can be read", func([]byte) []byte { return []byte("rubbish") }, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			chainOf(t, dir, 20, 4000)
			// A crash tears off nothing that was signed and handed out; here it was.
			mustRemove(t, beside(dir))
			segments := mustSegments(t, dir)
			last := segments[len(segments)-1]
			mustWrite(t, last.path+compressedSuffix, c.damage(zipped(t, textOf(t, last))))
			mustRemove(t, last.path)
			for range 2 {
				mustClose(t, mustOpen(t, options(dir)))
			}
			if r := verify(t, dir, VerifyOptions{}); len(r.Findings) != c.findings {
				t.Error(r.Findings)
			}
			if got := strings.Contains(readableKinds(t, dir), "gap"); got != (c.name != "whole") {
				t.Errorf("a gap: %v", got)
			}
		})
	}
}

// readableKinds is kindsIn of a chain of which not all can be read.
func readableKinds(t *testing.T, dir string) string {
	t.Helper()
	var words []string
	for _, s := range mustSegments(t, dir) {
		_ = eachLine(s.path, nil, func(_ int, text []byte, _ bool) error {
			if l, err := parseLine(text); err == nil {
				words = append(words, string(l.kind))
			}
			return nil
		}) // one of them is damaged
	}
	return strings.Join(words, " ")
}

// A gateway that ends does not wait for a file to be compressed, and leaves nothing of it.
func TestCompressingEndsWithTheGateway(t *testing.T) {
	dir := t.TempDir()
	chainOf(t, dir, 20, 4000)
	before := forms(t, dir)
	l, err := prepare(options(dir))
	must(t, err)
	close(l.finish)
	c := &keeper{l: l, told: make(map[string]string)}
	c.compressEnded()
	if got := forms(t, dir); got != before || len(c.told) > 0 {
		t.Errorf("%s after %s, %v", got, before, c.told)
	}
	if l.end(); l.w.failure != nil {
		t.Error(l.w.failure)
	}
}
