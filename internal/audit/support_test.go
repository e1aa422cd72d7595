package audit

import (
	"encoding/base64"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/ebox"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("AUDIT_TEST_VICTIM"); dir != "" {
		victim(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

func options(dir string) Options {
	return Options{Dir: dir, Replica: "r1", StopAfter: Never, Version: "test", Log: slog.New(slog.DiscardHandler)}
}

func mustOpen(t testing.TB, o Options) *Log {
	t.Helper()
	l, err := Open(o)
	must(t, err)
	t.Cleanup(func() { _ = l.Close() }) // a test that cares closes it itself
	return l
}

func mustClose(t testing.TB, l *Log) {
	t.Helper()
	must(t, l.Close())
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

// forged is the entry of a read that never was.
func forged(kind Kind) *entry {
	return &entry{kind: kind, at: time.Now(), record: Record{RequestID: "forged"}}
}

func write(id string) *call.Record {
	r := finished(id)
	r.Method, r.Action, r.Path = "PATCH", ebox.Change, "/ebox/providers/nsso/ebox/messages"
	return r
}

func verify(t testing.TB, dir string, o VerifyOptions) Report {
	t.Helper()
	report, err := verifyOne(filepath.Join(dir, "r1"), o)
	must(t, err)
	return report
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

// lines are all lines of a chain, in order.
func lines(t testing.TB, dir string) []string {
	t.Helper()
	var all []string
	for _, s := range mustSegments(t, dir) {
		all = append(all, strings.SplitAfter(string(textOf(t, s)), "\n")...)
		all = all[:len(all)-1]
	}
	return all
}

// textOf is what a segment holds, in whichever form it lies there.
func textOf(t testing.TB, s segment) []byte {
	t.Helper()
	var all []byte
	err := eachLine(s.path, nil, func(_ int, text []byte, whole bool) error {
		if all = append(all, text...); whole {
			all = append(all, '\n')
		}
		return nil
	})
	must(t, err)
	return all
}

// openPlain is mustOpen of a log that leaves ended segments as they are.
func openPlain(t testing.TB, o Options) *Log {
	t.Helper()
	l, err := prepare(o)
	must(t, err)
	go l.run()
	t.Cleanup(func() { _ = l.Close() }) // a test that cares closes it itself
	return l
}

// kindsIn are the kinds of the records of a chain but for those that begin a segment.
func kindsIn(t testing.TB, dir string) string {
	t.Helper()
	var words []string
	for _, text := range lines(t, dir) {
		l, err := parseLine([]byte(strings.TrimSuffix(text, "\n")))
		if err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		if l.kind != KindSegment {
			words = append(words, string(l.kind))
		}
	}
	return strings.Join(words, " ")
}

// faulty is a disk that fails when it is told to.
type faulty struct {
	mu sync.Mutex
	// open, write and sync are what the calls return. A write that fails has written
	// half.
	open, write, sync error
	// only, unless empty, begins the names of the files whose writing fails.
	only string
	// hang, unless nil, is waited for by each sync.
	hang  chan struct{}
	syncs int
}

func (d *faulty) set(open, write, sync error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open, d.write, d.sync = open, write, sync
}

// hangs has each sync wait until the function that it gives is called.
func (d *faulty) hangs() (release func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	hang := make(chan struct{})
	d.hang = hang
	return func() { close(hang) }
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

func base64Text(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// beside is the newest file of checkpoints beside a chain.
func beside(dir string) string {
	names, err := filepath.Glob(filepath.Join(dir, "r1", checkpointsPrefix+"*"))
	if err != nil || len(names) == 0 {
		return filepath.Join(dir, "r1", "no file of checkpoints")
	}
	return names[len(names)-1]
}

// verifyOne verifies one chain, and gives what belongs to no chain with what does.
func verifyOne(dir string, o VerifyOptions) (Report, error) {
	reports, findings, err := VerifyAll([]string{dir}, o)
	if err != nil {
		return Report{}, err
	}
	for _, f := range findings {
		reports[0].find(f)
	}
	return reports[0], nil
}

func waitFor(t testing.TB, is func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it never came to be")
		}
	}
}

func uitoa(n uint64) string { return strconv.FormatUint(n, 10) }

func mustBase64(t testing.TB, text string) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(text)
	must(t, err)
	return b
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func mustWrite(t testing.TB, path string, content []byte) {
	t.Helper()
	must(t, os.WriteFile(path, content, 0o600))
}

func mustRead(t testing.TB, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	must(t, err)
	return content
}

func mustRename(t testing.TB, from, to string) {
	t.Helper()
	must(t, os.Rename(from, to))
}

func mustCopy(t testing.TB, from, to string) {
	t.Helper()
	must(t, os.CopyFS(to, os.DirFS(from)))
}

func mustRemove(t testing.TB, path string) {
	t.Helper()
	must(t, os.RemoveAll(path))
}

// keyIn is the key that the log in a directory made for itself.
func keyIn(t testing.TB, dir string) *Key {
	t.Helper()
	key, err := LoadKey(filepath.Join(dir, "r1", keyName))
	must(t, err)
	return key
}
