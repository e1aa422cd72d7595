package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/ebox"
)

func TestARecordSaysWhoReadWhatForWhom(t *testing.T) {
	dir := t.TempDir()
	l := mustOpen(t, options(dir))
	r := finished("req-1")
	r.Path = "/enterprises/0206731645/ebox/providers/nsso/ebox/messages/M1/attachments/A1/content"
	r.Action, r.Opening, r.Cut = ebox.Open, true, true
	l.Done(r)
	mustClose(t, l)
	sound(t, dir)
	var got map[string]any
	must(t, json.Unmarshal([]byte(lines(t, dir)[2]), &got))
	for name, want := range map[string]any{
		"seq": 3.0, "kind": "opening", "requestId": "req-1", "caller": "hr", "source": "10.1.2.3", "listener": "main",
		"actor":      "an.peeters",
		"enterprise": "0206731645", "client": "payroll", "tokenHash": strings.Repeat("ab", 32), "route": "ebox-providers",
		"provider": "nsso",
		"upstream": "services.socialsecurity.be", "action": "open", "method": "GET", "url": r.Path,
		"attachment": "A1", "status": 200.0,
		"upstreamStatus": 200.0, "cut": true, "bytesOut": 2048.0, "answerFrom": "upstream", "cache": "fwd=uri-miss",
		"traceId": "t1", "answerTraceId": "t2",
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
	if ids := got["messages"].([]any); len(ids) != 1 || ids[0] != "M1" {
		t.Errorf("messages: %v", ids)
	}
}

func TestWhatIsEvidence(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(*call.Record)
		want Kind
	}{
		{"a read", func(*call.Record) {}, KindRead},
		{"a read that was not modified", func(r *call.Record) { r.Status = 304 }, KindRead},
		{"an answer from the cache", func(r *call.Record) {
			r.Tries, r.Sent, r.UpstreamStatus, r.Cache = 0, false, 0, "hit; ttl=60"
		}, KindRead},
		{"a read that was cut", func(r *call.Record) { r.Cut = true }, KindRead},
		{"a search by POST", func(r *call.Record) { r.Method = "POST" }, KindRead},
		{"a mandate that was read", func(r *call.Record) { r.Action = ebox.Mandates }, KindRead},
		{"a read that the upstream refused", func(r *call.Record) { r.Status, r.UpstreamStatus = 403, 403 }, ""},
		{"a read that the gateway refused", func(r *call.Record) { r.Status, r.ProblemType, r.Upstream = 403, "x", "" }, ""},
		{"a read whose caller went away", func(r *call.Record) { r.Status = 499 }, ""},
		{"reference data", func(r *call.Record) { r.Path = "/ebox/providers/nsso/referenceData/senders" }, ""},
		{"health", func(r *call.Record) { r.Action = ebox.None }, ""},
		{"the list of providers", func(r *call.Record) { r.Upstream = "" }, ""},
		{"an opening", func(r *call.Record) { r.Opening, r.Action = true, ebox.Open }, KindOpening},
		{"an opening that failed at the provider", func(r *call.Record) {
			r.Opening, r.Action, r.Status, r.UpstreamStatus = true,
				ebox.Open, 500, 500
		}, KindOpening},
		{"an opening that got no answer", func(r *call.Record) {
			r.Opening, r.Action, r.Status, r.UpstreamStatus, r.ProblemType = true, ebox.Open, 504, 0, "x"
		}, KindOpening},
		{"an opening that never reached the provider", func(r *call.Record) {
			r.Opening, r.Action, r.Status, r.Sent = true, ebox.Open, 503, false
		}, ""},
		{"a write", func(r *call.Record) { *r = *write("w") }, KindOutcome},
		{"a write that the provider refused", func(r *call.Record) { *r = *write("w"); r.Status = 400 }, KindOutcome},
		{"a write whose intent was recorded and that was not sent", func(r *call.Record) {
			*r = *write("w")
			r.Intent, r.Sent = true, false
		}, KindOutcome},
		{"a write that certainly did not happen", func(r *call.Record) { *r = *write("w"); r.Sent = false }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := finished("x")
			c.edit(r)
			if got, ok := evidenceOf(r); ok != (c.want != "") || ok && got != c.want {
				t.Errorf("%q, %v", got, ok)
			}
		})
	}
}

func TestPathsAreMasked(t *testing.T) {
	dir := t.TempDir()
	o := options(dir)
	o.Mask = func(s string) string { return strings.ReplaceAll(s, "79072300048", "***********") }
	l := mustOpen(t, o)
	r := finished("req-1")
	r.Path, r.Action = "/grant/citizen/mandates/79072300048", ebox.Mandates
	l.Done(r)
	mustClose(t, l)
	if text := strings.Join(lines(t, dir), ""); strings.Contains(text, "79072300048") ||
		!strings.Contains(text, "/grant/citizen/mandates/***********") {
		t.Error(text)
	}
}

func TestAnIntentIsOnDiskBeforeItReturns(t *testing.T) {
	dir := t.TempDir()
	l := mustOpen(t, options(dir))
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			r := write("w" + strconv.Itoa(i))
			if err := l.Intent(context.Background(), r); err != nil {
				t.Error(err)
			}
			if !r.Intent {
				t.Error("the record does not say that its outcome is awaited")
			}
			if text := strings.Join(lines(t, dir), ""); !strings.Contains(text, `"requestId":"`+r.ID+`"`) {
				t.Errorf("%s is not there", r.ID)
			}
		})
	}
	wg.Wait()
	mustClose(t, l)
	sound(t, dir)
}

func TestManyIntentsShareASync(t *testing.T) {
	disk := &faulty{}
	o := options(t.TempDir())
	o.OpenFile = disk.openFile
	l := mustOpen(t, o)
	release := disk.hangs()
	disk.mu.Lock()
	before := disk.syncs
	disk.mu.Unlock()
	var wg sync.WaitGroup
	const n = 100
	for range n {
		wg.Go(func() {
			if err := l.Intent(context.Background(), write("w")); err != nil {
				t.Error(err)
			}
		})
	}
	for l.Status().Waiting < n {
		time.Sleep(time.Millisecond)
	}
	release()
	wg.Wait()
	disk.mu.Lock()
	defer disk.mu.Unlock()
	if syncs := disk.syncs - before; syncs > 3 {
		t.Errorf("%d syncs for %d intents", syncs, n)
	}
}

func TestReadsAreOnDiskWithinASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		l := mustOpen(t, options(dir))
		l.Done(finished("r1"))
		time.Sleep(time.Second)
		synctest.Wait()
		if got := kindsIn(t, dir); got != "start read" {
			t.Error(got)
		}
		mustClose(t, l)
	})
}

func TestRecordsAreSignedAtLeastOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		o := options(dir)
		var shipped strings.Builder
		o.Ship = &shipped
		l := mustOpen(t, o)
		for range 3 {
			l.Done(finished("r"))
			time.Sleep(70 * time.Second)
		}
		time.Sleep(time.Hour) // nothing new, nothing to sign
		mustClose(t, l)
		if got := kindsIn(t, dir); got != "start read checkpoint read checkpoint read checkpoint stop" {
			t.Error(got)
		}
		beside, err := os.ReadFile(beside(dir))
		if err != nil || string(beside) != shipped.String() || strings.Count(shipped.String(), "\n") != 5 {
			t.Errorf("%v: beside the chain\n%sshipped\n%s", err, beside, shipped.String())
		}
		if r := sound(t, dir); r.Signed != r.Last || !r.Ended || r.Checkpoints != 5 {
			t.Errorf("%+v", r)
		}
	})
}

func TestSegmentsEndWithTheirSizeAndTheirDay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		o := options(dir)
		o.SegmentSize = 4000
		l := mustOpen(t, o)
		for range 20 {
			l.Done(finished("r"))
			time.Sleep(time.Second)
		}
		segments, err := listSegments(l.Dir())
		if err != nil || len(segments) < 3 {
			t.Fatalf("%v, %v", segments, err)
		}
		time.Sleep(24 * time.Hour)
		l.Done(finished("r"))
		mustClose(t, l)
		after, err := listSegments(l.Dir())
		if err != nil || len(after) != len(segments)+1 || !after[len(after)-1].day.After(segments[0].day) {
			t.Fatalf("%v, %v", after, err)
		}
		if r := sound(t, dir); r.Segments != len(after) {
			t.Errorf("%+v", r)
		}
	})
}

func TestADirectoryHasOneWriter(t *testing.T) {
	dir := t.TempDir()
	l := mustOpen(t, options(dir))
	if _, err := Open(options(dir)); err == nil || !strings.Contains(err.Error(), "audit.replica") {
		t.Errorf("a second one: %v", err)
	}
	other := options(dir)
	other.Replica = "r2"
	mustClose(t, mustOpen(t, other))
	mustClose(t, l)
	mustClose(t, mustOpen(t, options(dir)))
	chains, err := Chains(dir)
	if err != nil || len(chains) != 2 {
		t.Errorf("%v, %v", chains, err)
	}
	checkpoints, err := filepath.Rel(dir, beside(dir))
	must(t, err)
	for path, want := range map[string]os.FileMode{"r1": 0o700, "r1/signing.key": 0o600, checkpoints: 0o600,
		"r1/lock": 0o600} {
		info, err := os.Stat(filepath.Join(dir, path))
		must(t, err)
		if info.Mode().Perm() != want {
			t.Errorf("%s: %v", path, info.Mode())
		}
	}
}

func TestAQueueThatIsFullIsSaidInTheChain(t *testing.T) {
	disk := &faulty{}
	dir := t.TempDir()
	o := options(dir)
	o.OpenFile, o.Queue = disk.openFile, 10
	l := mustOpen(t, o)
	release := disk.hangs()
	for range 30 {
		l.Done(finished("r"))
	}
	for range 7 {
		w := write("w")
		w.Intent = true
		l.Done(w)
	}
	if s := l.Status(); s.Waiting != 10 || s.Lost != 27 {
		t.Errorf("%+v", s)
	}
	release()
	for l.Status().Waiting > 0 {
		time.Sleep(time.Millisecond)
	}
	mustClose(t, l)
	r := sound(t, dir)
	if r.Gaps == 0 || !strings.Contains(fmt.Sprint(r.Notes), "lost: 25 reads, 2 writes") {
		t.Errorf("%v in %s", r.Notes, kindsIn(t, dir))
	}
}

func TestEventsAreEvidence(t *testing.T) {
	dir := t.TempDir()
	l := mustOpen(t, options(dir))
	l.Event(Event{Kind: KindConfiguration, Fields: map[string]string{"result": "taken", "newHash": "new\"\n",
		"source": "10.1.2.3"}})
	mustClose(t, l)
	sound(t, dir)
	var got map[string]any
	if err := json.Unmarshal([]byte(lines(t, dir)[2]), &got); err != nil || got["newHash"] != "new\"\n" ||
		got["source"] != "10.1.2.3" {
		t.Errorf("%v, %v", err, got)
	}
}
