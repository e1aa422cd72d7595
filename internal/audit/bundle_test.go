package audit_test

import (
	"encoding/base64"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ebox-gateway/internal/audit"
	"ebox-gateway/internal/testkit"
)

// pageRun runs the commands of a bundle's page with the real openssl and sha256sum.
func pageRun(t *testing.T, bundle string, env ...string) (string, error) {
	t.Helper()
	text := []byte(testkit.Read(t, filepath.Join(bundle, "VERIFY.md")))
	var script strings.Builder
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllSubmatch(text, -1) {
		script.Write(block[1])
	}
	if script.Len() == 0 {
		t.Fatal("the page has no commands")
	}
	run := exec.Command("bash", "-c", script.String())
	run.Dir, run.Env = bundle, append(os.Environ(), append(env, "TMPDIR="+t.TempDir())...)
	out, err := run.CombinedOutput()
	return string(out), err
}

// daysOf writes a chain of three days, by a clock of its own, and gives its public key's file.
func daysOf(t *testing.T, dir string, stamps string) string {
	t.Helper()
	for _, day := range []string{"2026-03-01", "2026-03-02", "2026-03-03"} {
		o := on(t, dir, day)
		o.TimestampURL = stamps
		l := mustOpen(t, o)
		for _, id := range []string{"a", "b", "c"} {
			c := finished(id)
			c.Start = o.Now()
			l.Done(c)
		}
		if stamps != "" {
			testkit.Eventually(t, "the time stamp", func() bool {
				return strings.Contains(whole(t, dir), `"of":"`+strconv.FormatUint(l.Status().Signed, 10)+`"`)
			})
		}
		testkit.Must(t, l.Close())
	}
	return globbed(t, dir, "r1", "public-*.pem")[0]
}

// exported makes the bundle of a day of r1, and of a replica that has signed nothing: of it a bundle
// holds nothing at all, since an empty directory is where evidence was removed.
func exported(t *testing.T, dir string, day time.Time, o audit.VerifyOptions) (bundle string, r audit.Report) {
	t.Helper()
	bundle = filepath.Join(t.TempDir(), "bundle")
	unsigned := forgedChain(t, filepath.Join(t.TempDir(), "r2"), "r2", day)
	reports, err := audit.Export([]string{filepath.Join(dir, "r1"), unsigned}, bundle, day, day, o)
	if err != nil || len(reports) != 1 {
		t.Fatalf("%+v, %v", reports, err)
	}
	return bundle, reports[0]
}

// forgedChain is one that begins with a segment, as anybody can make it, and has no signature.
func forgedChain(t *testing.T, chain, replica string, day time.Time) string {
	t.Helper()
	testkit.Must(t, os.Mkdir(chain, 0o700))
	testkit.Write(t, filepath.Join(chain, "evidence-"+day.Format("20060102")+"-000000000001.jsonl"),
		forged(1, none, "segment", day, `"format":2,"replica":"`+replica+`"`))
	return chain
}

// summed writes the sums of the files of a bundle anew.
func summed(t *testing.T, bundle string) {
	t.Helper()
	run := exec.Command("bash", "-c", `rm SHA256SUMS
		find . -type f -printf '%P\0' | sort -z | xargs -0 sha256sum > "$TMPDIR/sums" && mv "$TMPDIR/sums" SHA256SUMS`)
	run.Env = append(os.Environ(), "TMPDIR="+t.TempDir())
	run.Dir = bundle
	testkit.Must(t, run.Run())
}

func TestABundleIsVerifiedByTheCommandsOfItsPage(t *testing.T) {
	dir := t.TempDir()
	tsa, roots := authority(t)
	trusted := daysOf(t, dir, tsa)
	keys, err := audit.LoadPublicKeys(trusted)
	testkit.Must(t, err)
	o := audit.VerifyOptions{Keys: keys, Bundle: true, Checkpoints: []string{beside(dir)}}
	if o.Authorities, err = audit.LoadAuthorities(roots); err != nil {
		t.Fatal(err)
	}
	fresh := func(t *testing.T) string {
		bundle, r := exported(t, dir, time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC), o)
		if wrong := findings(t, bundle, o); wrong != "" || len(r.Findings) > 0 || r.Timestamps == 0 {
			t.Fatalf("%+v, %s", r, wrong)
		}
		return bundle
	}
	env := []string{"KEY=" + trusted, "TSA=" + roots}
	bundle := fresh(t)
	out, err := pageRun(t, bundle, env...)
	if err != nil || strings.Count(out, "Verification: OK") == 0 || !strings.Contains(out, "by "+trusted) {
		t.Fatalf("%v\n%s", err, out)
	}
	summed(t, bundle) // which changes nothing
	if out, err := pageRun(t, bundle); err != nil {
		t.Errorf("without a key of one's own: %v\n%s", err, out)
	}
	names, err := filepath.Glob(filepath.Join(bundle, "r1", "evidence-*"))
	if err != nil || len(names) != 1 {
		t.Fatal(names, err)
	}
	records, note := filepath.Join("r1", filepath.Base(names[0])), filepath.Join("r1", "checkpoint.note")
	replaced := func(old, text string) func(string) string {
		return func(s string) string { return strings.Replace(s, old, text, 1) }
	}
	relined := func(edit func(lines []string) []string) func(string) string {
		return func(s string) string { return strings.Join(edit(strings.SplitAfter(s, "\n")), "") }
	}
	for _, c := range []struct {
		name, file string
		edit       func(text string) string // of "" to add the file, to "" to remove it
	}{
		{"a record was changed", records, replaced("an.peeters", "an.petersX")},
		{"a record was changed with its hash", records, relined(func(all []string) []string {
			all[2] = instead(parsed(t, all[2]))
			return all
		})},
		{"a record was removed", records, relined(func(all []string) []string { return slices.Delete(all, 2, 3) })},
		{"the end was cut off", records, relined(func(all []string) []string { return all[:len(all)-2] })},
		{"the note is of another time", note, replaced("2026-03-02", "2026-03-03")},
		{"a file was added", "r1/timestamp-000000000099.tsr", func(string) string { return "x" }},
		{"a file was added beside the replicas", "more.txt", func(string) string { return "x" }},
		{"a file was removed", note, func(string) string { return "" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			bundle := fresh(t)
			path := filepath.Join(bundle, c.file)
			was, _ := os.ReadFile(path) // nothing of one that is added
			is := c.edit(string(was))
			if is == string(was) {
				t.Fatalf("nothing was done: %s", was)
			}
			testkit.Write(t, path, is)
			if is == "" {
				mustRemove(t, path)
			}
			if !strings.HasPrefix(c.name, "a file was added") {
				// Whoever changes a file can write its sum as well. Only added files, of which
				// nothing signed speaks, are found by the sums alone.
				summed(t, bundle)
			}
			if out, err := pageRun(t, bundle, env...); err == nil {
				t.Errorf("the page's commands found nothing:\n%s", out)
			}
			if findings(t, bundle, o) == "" {
				t.Error("verifying found nothing")
			}
		})
	}
}

func TestBundlesOfAllDaysHoldEveryRecord(t *testing.T) {
	dir := t.TempDir()
	o := options(dir)
	now := time.Date(2026, 3, 1, 22, 0, 0, 0, time.UTC)
	o.Now = func() time.Time { return now }
	first := mustOpen(t, o)
	first.Done(finished("of the first day"))
	testkit.Eventually(t, "the disk", func() bool { return first.Status().Waiting == 0 })
	o.Dir = t.TempDir()
	testkit.Must(t, os.CopyFS(o.Dir, os.DirFS(dir))) // as if the process ended here, behind its last signature
	testkit.Must(t, first.Close())
	dir, now = o.Dir, now.AddDate(0, 0, 1)
	l := mustOpen(t, o)
	l.Done(finished("not signed yet"))
	testkit.Eventually(t, "the disk", func() bool { return l.Status().Waiting == 0 })
	seen := make(map[string]bool)
	for _, day := range []int{1, 2} {
		bundle, r := exported(t, dir, time.Date(2026, 3, day, 0, 0, 0, 0, time.UTC), audit.VerifyOptions{})
		if len(r.Findings) > 0 {
			t.Fatalf("%+v", r)
		}
		if out, err := pageRun(t, bundle); err != nil {
			t.Errorf("day %d: %v\n%s", day, err, out)
		}
		for _, line := range lines(t, bundle) {
			seen[line] = true
		}
	}
	for _, line := range lines(t, dir) {
		if seen[line] == strings.Contains(line, "not signed yet") {
			t.Errorf("is this in a bundle? %v: %s", seen[line], line)
		}
	}
}

// authority is a time-stamping authority: "openssl ts" behind HTTP. It gives its address and
// the file of its certificate, which is its own root.
func authority(t *testing.T) (url, roots string) {
	t.Helper()
	dir := t.TempDir()
	testkit.Write(t, filepath.Join(dir, "serial"), "01\n")
	testkit.Write(t, filepath.Join(dir, "tsa.cnf"), `
[tsa]
default_tsa = t
[t]
serial = `+dir+`/serial
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
accuracy = secs:1
ess_cert_id_alg = sha256
`)
	openssl := func(args ...string) {
		t.Helper()
		run := exec.Command("openssl", args...)
		run.Dir = dir
		if out, err := run.CombinedOutput(); err != nil {
			t.Errorf("openssl %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	openssl("req", "-x509", "-subj", "/CN=tsa", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
		"-keyout", "tsa.key", "-out", "tsa.pem", "-addext", "extendedKeyUsage=critical,timeStamping",
		"-addext", "keyUsage=critical,digitalSignature", "-addext", "basicConstraints=critical,CA:FALSE")
	var one sync.Mutex // the files are those of one question
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		one.Lock()
		defer one.Unlock()
		question, err := io.ReadAll(r.Body)
		if err := errors.Join(err, os.WriteFile(filepath.Join(dir, "q"), question, 0o600)); err != nil {
			t.Error(err)
		}
		openssl("ts", "-reply", "-config", "tsa.cnf", "-queryfile", "q",
			"-signer", "tsa.pem", "-inkey", "tsa.key", "-out", "r")
		w.Header().Set("Content-Type", "application/timestamp-reply")
		http.ServeFile(w, r, filepath.Join(dir, "r"))
	}))
	t.Cleanup(server.Close)
	return server.URL, filepath.Join(dir, "tsa.pem")
}

func TestATimeStampOfAnotherAuthorityOrNoteIsFound(t *testing.T) {
	dir := t.TempDir()
	tsa, roots := authority(t)
	trusted := daysOf(t, dir, tsa)
	_, others := authority(t)
	keys, err := audit.LoadPublicKeys(trusted)
	testkit.Must(t, err)
	for _, c := range []struct {
		name, roots, want string
	}{{"its own", roots, ""}, {"another", others, "leads to none of the authorities"}} {
		pool, err := audit.LoadAuthorities(c.roots)
		testkit.Must(t, err)
		r := verify(t, dir, audit.VerifyOptions{Keys: keys, Authorities: pool})
		if got := len(r.Findings); (c.want == "") != (got == 0) || c.want == "" && r.Timestamps != 3 ||
			c.want != "" && !strings.Contains(r.Findings[0].What, c.want) {
			t.Errorf("%s: %+v", c.name, r)
		}
	}
	token := regexp.MustCompile(`"token":"[^"]*"`)
	first := token.FindString(whole(t, dir))
	for _, path := range segmentsOf(t, dir) {
		text, err := textOf(t, path)
		testkit.Must(t, err)
		changed := ""
		for line := range strings.Lines(text) {
			if content, _, _ := strings.Cut(line, `,"hash":"`); token.MatchString(content) {
				line = hashed(token.ReplaceAllLiteralString(content, first))
			}
			changed += line
		}
		putText(t, path, changed)
	}
	if got := findings(t, dir, audit.VerifyOptions{}); !strings.Contains(got, "the time stamp is that of something else") {
		t.Errorf("a time stamp of another day: %s", got)
	}
}

// While an authority fails, evidence goes on. The log has one line when that begins, whatever
// reasons follow one another, and one when it ends.
func TestAnAuthorityThatFailsStopsNoEvidence(t *testing.T) {
	tsa, _ := authority(t)
	var asked atomic.Int64
	way, err := url.Parse(tsa)
	testkit.Must(t, err)
	proxy := httputil.NewSingleHostReverseProxy(way)
	failing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n := asked.Add(1); n <= 4 {
			w.WriteHeader(500 + int(n)) // each time another reason
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	defer failing.Close()
	var log strings.Builder
	dir, l := opened(t, func(o *audit.Options) {
		o.TimestampURL, o.CheckpointEvery = failing.URL, time.Millisecond
		o.Log = slog.New(slog.NewTextHandler(&log, nil))
	})
	testkit.Eventually(t, "the refusal", func() bool { return strings.Contains(l.Status().Stamping, "50") })
	testkit.Eventually(t, "a time stamp", func() bool {
		err := l.Intent(t.Context(), write("w"))
		return err != nil || l.Status().Stamping == ""
	})
	if err := l.Intent(t.Context(), write("w")); err != nil {
		t.Error(err)
	}
	testkit.Must(t, l.Close())
	if r := sound(t, dir); r.Timestamps == 0 {
		t.Error("it never had a time stamp")
	}
	if text := log.String(); strings.Count(text, "no time stamps") != 1 || strings.Count(text, "time stamps again") != 1 {
		t.Error(text)
	}
}

// Anybody who has the files can make a record whose hash is right.
func TestNoRecordLeadsABundleElsewhere(t *testing.T) {
	dir, day := t.TempDir(), time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	chain := forgedChain(t, filepath.Join(dir, "r1"), "../../elsewhere", day)
	path := globbed(t, chain, "evidence-*")[0]
	first := parsed(t, testkit.Read(t, path))
	signed := forged(2, first.Hash, "stop", day, `"replica":"../../elsewhere"`)
	signed = strings.Replace(signed, "\"}\n", `","sig":"`+base64.StdEncoding.EncodeToString(make([]byte, 68))+"\"}\n", 1)
	testkit.Write(t, path, first.Text+signed)
	bundle := filepath.Join(dir, "a", "b")
	testkit.Must(t, os.Mkdir(filepath.Dir(bundle), 0o700))
	reports, err := audit.Export([]string{chain}, bundle, day, day, audit.VerifyOptions{})
	if err != nil || len(reports) != 1 || len(reports[0].Findings) == 0 || reports[0].Dir != filepath.Join(bundle, "r1") {
		t.Errorf("%+v, %v", reports, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "elsewhere")); err == nil {
		t.Error("it was written beside the bundle")
	}
}

func TestADayWhoseFirstRecordWasChangedIsInItsBundle(t *testing.T) {
	dir := t.TempDir()
	daysOf(t, dir, "")
	second := segmentsOf(t, dir)[1]
	text, err := textOf(t, second)
	testkit.Must(t, err)
	_, rest, _ := strings.Cut(text, "\n")
	putText(t, second, "{}\n"+rest)
	_, r := exported(t, dir, time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC), audit.VerifyOptions{})
	if len(r.Findings) == 0 || r.Records == 0 || !strings.HasPrefix(r.From, "2026-03-02") ||
		!strings.HasPrefix(r.To, "2026-03-02") {
		t.Errorf("%+v", r)
	}
}
