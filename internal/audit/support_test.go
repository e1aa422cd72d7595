package audit

// The tests stand in the package: they write what only a tamperer or a crash would (forged
// records, half compressed files), and read lines and segments as they lie on disk.

import (
	"bytes"
	"compress/gzip"
	"crypto/ed25519"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/testkit"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("AUDIT_TEST_VICTIM"); dir != "" {
		victim(dir)
		return
	}
	testkit.Main(m)
}

func options(dir string) Options {
	return Options{Dir: dir, Replica: "r1", StopAfter: Never, Version: "test", Log: slog.New(slog.DiscardHandler),
		patience: patience}
}

// patience is so long that a machine that stops for a while fails no test.
const patience = 2 * time.Minute

func mustOpen(t testing.TB, o Options) *Log {
	t.Helper()
	l, err := Open(o)
	testkit.Must(t, err)
	t.Cleanup(func() { _ = l.Close() }) // a test that cares closes it itself
	return l
}

// finished is a finished read of a message by hr.
func finished(id string) *call.Record {
	c := &call.Call{
		ID: id, Start: time.Now(), Source: netip.MustParseAddr("10.1.2.3"), Listener: "main", Caller: "hr",
		Actor: "an.peeters", Method: "GET", Path: "/ebox/providers/nsso/ebox/messages/M1", Route: "ebox-providers",
		Provider: "nsso", Action: ebox.List, Enterprise: 206731645, Client: "payroll", Upstream: "provider nsso",
		UpstreamHost: "services.socialsecurity.be",
	}
	return &call.Record{
		Call: c, TokenHash: strings.Repeat("ab", 32), UpstreamStatus: 200, Status: 200, Tries: 1, Sent: true,
		TraceID: "t1", AnswerTraceID: "t2", BytesOut: 2048, Cache: "fwd=uri-miss",
	}
}

func write(id string) *call.Record {
	r := finished(id)
	r.Method, r.Action, r.Path = "PATCH", ebox.Change, "/ebox/providers/nsso/ebox/messages"
	return r
}

// forged is the line of a record that never was, behind another, and becomes the one to forge
// behind.
func forged(kind Kind, behind *link) string {
	return string(behind.append(nil, kind, time.Now(), &Record{RequestID: "forged"}, nil))
}

// before is the record before a line, as the line says.
func before(l line) *link { return &link{l.seq - 1, l.prev} }

// chainOf writes a chain of n reads in several segments, plain ones, that ends in order.
func chainOf(t testing.TB, dir, replica string, n int, segmentSize int64) {
	t.Helper()
	o := options(dir)
	o.Replica, o.SegmentSize = replica, segmentSize
	l, err := prepare(o)
	testkit.Must(t, err)
	for i := range n {
		l.Done(finished(fmt.Sprintf("r%d", i)))
		if i%5 == 4 {
			testkit.Must(t, l.turn())
		}
	}
	l.end()
	testkit.Must(t, l.w.failure)
}

// plain is such a chain in a directory of its own, compressed is one all of whose segments but
// the last are compressed.
func plain(t testing.TB, n int, segmentSize int64) (dir string) {
	t.Helper()
	dir = t.TempDir()
	chainOf(t, dir, "r1", n, segmentSize)
	return dir
}

func compressed(t testing.TB, n int, segmentSize int64) (dir string) {
	t.Helper()
	dir = plain(t, n, segmentSize)
	_, err := Keep(options(dir))
	testkit.Must(t, err)
	return dir
}

// verify verifies one chain, and gives what belongs to no chain with what does.
func verify(t testing.TB, dir string, o VerifyOptions) Report {
	t.Helper()
	reports, findings, err := VerifyAll([]string{filepath.Join(dir, "r1")}, o)
	testkit.Must(t, err)
	for _, f := range findings {
		reports[0].find(f)
	}
	return reports[0]
}

// findings are those of all chains of a directory, a line each.
func findings(t testing.TB, dir string, o VerifyOptions) string {
	t.Helper()
	reports, between, err := VerifyAll([]string{dir}, o)
	testkit.Must(t, err)
	for _, r := range reports {
		between = append(between, r.Findings...)
	}
	text := ""
	for _, f := range between {
		text += f.String() + "\n"
	}
	return text
}

// globbed are the files below a directory that have a name.
func globbed(t testing.TB, parts ...string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(parts...))
	testkit.Must(t, err)
	return names
}

// sound verifies that nothing is wrong.
func sound(t testing.TB, dir string) Report {
	t.Helper()
	report := verify(t, dir, VerifyOptions{})
	for _, f := range report.Findings {
		t.Errorf("%s", f)
	}
	return report
}

// contains reports whether one of some findings holds a text.
func contains(findings []Finding, text string) bool {
	for _, f := range findings {
		if strings.Contains(f.String(), text) {
			return true
		}
	}
	return false
}

func segmentsOf(t testing.TB, dir string) []segment {
	t.Helper()
	files, err := filesOf(filepath.Join(dir, "r1"))
	testkit.Must(t, err)
	return files.segments
}

// textOf is what can be read of a segment, in whichever form it lies there.
func textOf(s segment) (string, error) {
	var all strings.Builder
	for r, err := range linesOf(s.path, nil) {
		if err != nil {
			return all.String(), err
		}
		all.Write(r.text)
		if r.whole {
			all.WriteByte('\n')
		}
	}
	return all.String(), nil
}

// whole is the text of a chain, as far as it can be read.
func whole(t testing.TB, dir string) string {
	t.Helper()
	all := ""
	for _, s := range segmentsOf(t, dir) {
		text, err := textOf(s)
		if err != nil && !strings.Contains(err.Error(), "compressed file") {
			t.Fatal(err)
		}
		all += text
	}
	return all
}

// lines are all lines of a chain, in order.
func lines(t testing.TB, dir string) []string {
	t.Helper()
	all := strings.SplitAfter(whole(t, dir), "\n")
	return all[:len(all)-1]
}

// kindsIn are the kinds of the records of a chain but for those that begin a segment.
func kindsIn(t testing.TB, dir string) string {
	t.Helper()
	var words []string
	for _, text := range lines(t, dir) {
		if l := parsed(t, text); l.kind != KindSegment {
			words = append(words, string(l.kind))
		}
	}
	return strings.Join(words, " ")
}

// parsed is a line taken apart.
func parsed(t interface {
	Helper()
	Fatalf(format string, args ...any)
}, text string) line {
	t.Helper()
	l, err := parseLine(raw{text: []byte(strings.TrimSuffix(text, "\n"))})
	if err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return l
}

// forms says of each segment whether it is plain (p) or compressed (c), and names files that
// should not be there.
func forms(t testing.TB, dir string) string {
	t.Helper()
	all := ""
	for _, s := range segmentsOf(t, dir) {
		all += map[bool]string{true: "c", false: "p"}[s.compressed]
	}
	left, err := filepath.Glob(filepath.Join(dir, "r1", "*"+unfinishedSuffix))
	testkit.Must(t, err)
	return all + strings.Join(left, " ")
}

// allButTheLast are the forms of some segments that are all compressed but the last.
func allButTheLast(forms string) string { return strings.Repeat("c", max(len(forms)-1, 0)) + "p" }

// zipped is what compressing a text gives.
func zipped(t testing.TB, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := z.Write([]byte(text))
	testkit.Must(t, err)
	testkit.Must(t, z.Close())
	return b.Bytes()
}

// failure is what calls of a disk return. A write that fails has written half.
type failure struct{ open, write, sync error }

// faulty is a disk that fails when it is told to.
type faulty struct {
	mu sync.Mutex
	failure
	// only, unless empty, begins the names of the files whose writing fails.
	only string
	// hang, unless nil, is waited for by each sync.
	hang  chan struct{}
	syncs int
}

// failing is a log on such a disk.
func failing(t testing.TB, disk *faulty, edit func(*Options)) (dir string, l *Log) {
	t.Helper()
	dir = t.TempDir()
	o := options(dir)
	o.OpenFile = disk.openFile
	edit(&o)
	return dir, mustOpen(t, o)
}

func (d *faulty) set(f failure) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failure = f
}

// hangs has each sync wait until the function that it gives is called.
func (d *faulty) hangs() (release func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	hang := make(chan struct{})
	d.hang = hang
	return func() { close(hang) }
}

// synced counts the syncs.
func (d *faulty) synced() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.syncs
}

func (d *faulty) openFile(name string, flag int, perm fs.FileMode) (File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open != nil {
		return nil, d.open
	}
	f, err := os.OpenFile(name, flag, perm)
	if d.only != "" && !strings.HasPrefix(filepath.Base(name), d.only) {
		return f, err
	}
	return &faultyFile{f, d}, err
}

type faultyFile struct {
	*os.File
	d *faulty
}

func (f *faultyFile) Write(b []byte) (int, error) {
	f.d.mu.Lock()
	err := f.d.write
	f.d.mu.Unlock()
	if err != nil {
		n, _ := f.File.Write(b[:len(b)/2])
		return n, err
	}
	return f.File.Write(b)
}

func (f *faultyFile) Sync() error {
	f.d.mu.Lock()
	err, hang := f.d.sync, f.d.hang
	f.d.syncs++
	f.d.mu.Unlock()
	if hang != nil {
		<-hang
	}
	if err != nil {
		return err
	}
	return f.File.Sync()
}

// beside is the newest file of checkpoints beside a chain.
func beside(dir string) string {
	names, err := filepath.Glob(filepath.Join(dir, "r1", checkpointsPrefix+"*"))
	if err != nil || len(names) == 0 {
		return filepath.Join(dir, "r1", "no file of checkpoints")
	}
	return names[len(names)-1]
}

// shippedOf is a copy of it, as it was shipped off the machine.
func shippedOf(t testing.TB, dir string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "shipped.jsonl")
	testkit.Write(t, file, testkit.Read(t, beside(dir)))
	return file
}

// keyIn is the key that the log in a directory made for itself.
func keyIn(t testing.TB, dir string) ed25519.PrivateKey {
	t.Helper()
	key, err := LoadKey(filepath.Join(dir, "r1", keyName))
	testkit.Must(t, err)
	return key
}

func mustRemove(t testing.TB, path string) {
	t.Helper()
	testkit.Must(t, os.RemoveAll(path))
}

func maskCitizen(s string) string { return strings.ReplaceAll(s, "79072300048", "***********") }
