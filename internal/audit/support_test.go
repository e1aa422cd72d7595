package audit_test

import (
	"bytes"
	"compress/gzip"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"ebox-gateway/internal/audit"
	"ebox-gateway/internal/call"
	"ebox-gateway/internal/config"
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

func options(dir string) audit.Options {
	return audit.WithPatience(audit.Options{
		Audit:   config.Audit{Dir: dir, Replica: "r1", StopAfter: config.StopNever},
		Version: "test", Log: slog.New(slog.DiscardHandler),
	}, patience)
}

// patience is how long a disk may take in these tests.
const patience = 2 * time.Minute

// opened is a chain in a directory of its own, with other options than those of all tests.
func opened(t testing.TB, edits ...func(*audit.Options)) (dir string, l *audit.Log) {
	t.Helper()
	dir = t.TempDir()
	o := options(dir)
	for _, edit := range edits {
		edit(&o)
	}
	return dir, mustOpen(t, o)
}

func mustOpen(t testing.TB, o audit.Options) *audit.Log {
	t.Helper()
	l, err := audit.Open(o)
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

// record is the line of a record, taken apart.
type record struct {
	Seq                    uint64
	Prev, Hash, Kind, Time string
	RequestID              string `json:"requestId"`
	Sig                    []byte
	Text                   string `json:"-"`
}

func parsed(t testkit.T, line string) (r record) {
	t.Helper()
	testkit.Must(t, json.Unmarshal([]byte(line), &r))
	r.Text = line
	return r
}

// hashed is a line of some content, as anybody can make it: with the hash of that content, and no
// signature.
func hashed(content string) string {
	return fmt.Sprintf("%s,\"hash\":\"%x\"}\n", content, sha256.Sum256([]byte(content)))
}

// none is what the first record of a chain names as the hash of the one before.
var none = strings.Repeat("0", 64)

// forged is the line of a record that never was.
func forged(seq uint64, prev, kind string, at time.Time, members string) string {
	return hashed(fmt.Sprintf(`{"seq":%d,"prev":"%s","time":"%s","kind":"%s",%s`, seq, prev,
		at.UTC().Format(time.RFC3339Nano), kind, members))
}

// instead is the line of a forged record in the place of another.
func instead(of record) string {
	return forged(of.Seq, of.Prev, "read", time.Now(), `"requestId":"forged"`)
}

// chainOf writes a chain of n requests, reads and now and then a write, in several segments that stay
// plain. It ends in order.
func chainOf(t testing.TB, dir, replica string, n int, segmentSize config.Size) {
	t.Helper()
	disk := &faulty{only: ".gz", failure: failure{open: syscall.ENOSPC}}
	o := options(dir)
	o.Replica, o.SegmentSize, o.OpenFile = replica, segmentSize, disk.openFile
	l := mustOpen(t, o)
	for i := range n {
		if i%5 == 4 {
			testkit.Must(t, l.Intent(t.Context(), write(fmt.Sprintf("w%d", i))))
		} else {
			l.Done(finished(fmt.Sprintf("r%d", i)))
		}
	}
	testkit.Must(t, l.Close())
}

// plain is such a chain in a directory of its own, compressed is one all of whose segments but
// the last are compressed.
func plain(t testing.TB, n int, segmentSize config.Size) (dir string) {
	t.Helper()
	dir = t.TempDir()
	chainOf(t, dir, "r1", n, segmentSize)
	return dir
}

func compressed(t testing.TB, n int, segmentSize config.Size) (dir string) {
	t.Helper()
	dir = plain(t, n, segmentSize)
	_, err := audit.Keep(options(dir))
	testkit.Must(t, err)
	return dir
}

// verify verifies one chain, and gives what belongs to no chain with what does.
func verify(t testing.TB, dir string, o audit.VerifyOptions) audit.Report {
	t.Helper()
	reports, findings, err := audit.VerifyAll([]string{filepath.Join(dir, "r1")}, o)
	testkit.Must(t, err)
	reports[0].Findings = append(reports[0].Findings, findings...)
	return reports[0]
}

// findings are those of all chains of a directory, a line each.
func findings(t testing.TB, dir string, o audit.VerifyOptions) string {
	t.Helper()
	reports, between, err := audit.VerifyAll([]string{dir}, o)
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

// sound verifies that nothing is wrong.
func sound(t testing.TB, dir string) audit.Report {
	t.Helper()
	report := verify(t, dir, audit.VerifyOptions{})
	for _, f := range report.Findings {
		t.Errorf("%s", f)
	}
	return report
}

// globbed are the files below a directory that have a name.
func globbed(t testing.TB, parts ...string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(parts...))
	testkit.Must(t, err)
	return names
}

// segmentsOf are the files of a chain, the oldest first. Of one that lies there in both forms the plain
// one is given.
func segmentsOf(t testing.TB, dir string) []string {
	t.Helper()
	names := globbed(t, dir, "r1", "evidence-*.jsonl")
	for _, name := range globbed(t, dir, "r1", "evidence-*.jsonl.gz") {
		if !slices.Contains(names, strings.TrimSuffix(name, ".gz")) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// forms says of each segment whether it is plain (p) or compressed (c), and names files that
// should not be there.
func forms(t testing.TB, dir string) string {
	t.Helper()
	all := ""
	for _, path := range segmentsOf(t, dir) {
		all += map[bool]string{true: "c", false: "p"}[isCompressed(path)]
	}
	return all + strings.Join(globbed(t, dir, "r1", "*.tmp"), " ")
}

func isCompressed(path string) bool { return strings.HasSuffix(path, ".gz") }

// allButTheLast are the forms of some segments that are all compressed but the last.
func allButTheLast(forms string) string { return strings.Repeat("c", max(len(forms)-1, 0)) + "p" }

// textOf are the lines of a segment, in whichever form it lies there, as far as they can be read.
func textOf(t testing.TB, path string) (string, error) {
	t.Helper()
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && !isCompressed(path) { // compressed since it was listed
		return textOf(t, path+".gz")
	}
	testkit.Must(t, err)
	if !isCompressed(path) {
		return string(text), nil
	}
	z, err := gzip.NewReader(bytes.NewReader(text))
	if err != nil {
		return "", err
	}
	unzipped, err := io.ReadAll(z)
	if err != nil {
		unzipped = unzipped[:bytes.LastIndexByte(unzipped, '\n')+1]
	}
	return string(unzipped), err
}

// putText gives a segment another text, in its plain form: where both are there, that one counts.
func putText(t testing.TB, path, text string) {
	t.Helper()
	testkit.Write(t, strings.TrimSuffix(path, ".gz"), text)
}

// whole is the text of a chain, as far as it can be read.
func whole(t testing.TB, dir string) string {
	t.Helper()
	all := ""
	for _, path := range segmentsOf(t, dir) {
		text, _ := textOf(t, path)
		all += text
	}
	return all
}

// lines are all lines of a chain, in order.
func lines(t testing.TB, dir string) []string {
	t.Helper()
	return slices.Collect(strings.Lines(whole(t, dir)))
}

// kindsIn are the kinds of the records of a chain but for those that begin a segment.
func kindsIn(t testing.TB, dir string) string {
	t.Helper()
	var kinds []string
	for _, line := range lines(t, dir) {
		if kind := parsed(t, line).Kind; kind != "segment" {
			kinds = append(kinds, kind)
		}
	}
	return strings.Join(kinds, " ")
}

// zipped is what compressing a text gives.
func zipped(t testing.TB, text string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := z.Write([]byte(text))
	testkit.Must(t, err)
	testkit.Must(t, z.Close())
	return b.String()
}

// failure is what calls of a disk return. A write that fails has written half.
type failure struct{ open, write, sync error }

// faulty is a disk that fails when it is told to.
type faulty struct {
	mu sync.Mutex
	failure
	// only is a part of the names of the files that fail.
	only string
	// hang, unless nil, is waited for by each sync.
	hang  chan struct{}
	syncs int
}

// holds has a chain lie on the disk. It is an edit of opened.
func (d *faulty) holds(o *audit.Options) { o.OpenFile = d.openFile }

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

func (d *faulty) openFile(name string, flag int, perm fs.FileMode) (audit.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	concerned := strings.Contains(filepath.Base(name), d.only)
	if concerned && d.open != nil {
		return nil, d.open
	}
	f, err := os.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	if !concerned {
		return f, nil
	}
	return &faultyFile{f, d}, nil
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
	names, err := filepath.Glob(filepath.Join(dir, "r1", "checkpoints*"))
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

// keysIn are the public keys that lie beside a chain.
func keysIn(t testing.TB, dir string) []ed25519.PublicKey {
	t.Helper()
	keys, err := audit.LoadPublicKeys(globbed(t, dir, "r1", "public-*.pem")...)
	testkit.Must(t, err)
	return keys
}

func mustRemove(t testing.TB, path string) {
	t.Helper()
	testkit.Must(t, os.RemoveAll(path))
}

// masked has the number of a citizen masked. It is an edit of opened.
func masked(o *audit.Options) { o.Mask = maskCitizen }

func maskCitizen(s string) string { return strings.ReplaceAll(s, "79072300048", "***********") }
