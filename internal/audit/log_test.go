package audit_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ebox-gateway/internal/audit"
	"ebox-gateway/internal/call"
	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/testkit"
)

func TestARecordSaysWhoReadWhatForWhom(t *testing.T) {
	dir, l := opened(t, masked)
	r := finished("req-1")
	r.Path = "/enterprises/79072300048/ebox/providers/nsso/ebox/messages/M1/attachments/A1/content"
	r.Action, r.Opening, r.Cut = ebox.Open, true, true
	l.Done(r)
	l.Event(audit.KindConfiguration, map[string]string{"result": "taken", "newHash": "new\"\n"})
	testkit.Must(t, l.Close())
	sound(t, dir)
	var got, event map[string]any
	testkit.Must(t, json.Unmarshal([]byte(lines(t, dir)[2]), &got))
	testkit.Must(t, json.Unmarshal([]byte(lines(t, dir)[3]), &event))
	if event["kind"] != "configuration" || event["result"] != "taken" || event["newHash"] != "new\"\n" {
		t.Errorf("the event: %v", event)
	}
	for name, want := range map[string]any{
		"seq": 3.0, "kind": "opening", "requestId": "req-1", "caller": "hr", "source": "10.1.2.3", "listener": "main",
		"actor": "an.peeters", "enterprise": "0206731645", "client": "payroll", "tokenHash": strings.Repeat("ab", 32),
		"route": "ebox-providers", "provider": "nsso", "upstream": "services.socialsecurity.be", "action": "open",
		"method": "GET", "url": maskCitizen(r.Path), "attachment": "A1", "status": 200.0, "upstreamStatus": 200.0,
		"cut": true, "bytesOut": 2048.0, "answerFrom": "upstream", "cache": "fwd=uri-miss", "traceId": "t1",
		"answerTraceId": "t2",
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
		want string // the kind of the record, if there is one
	}{
		{"a read", func(*call.Record) {}, "read"},
		{"an answer from the cache", func(r *call.Record) {
			r.Tries, r.Sent, r.UpstreamStatus, r.Cache = 0, false, 0, "hit; ttl=60"
		}, "read"},
		{"a search by POST", func(r *call.Record) { r.Method = "POST" }, "read"},
		{"a read that the upstream refused", func(r *call.Record) { r.Status, r.UpstreamStatus = 403, 403 }, ""},
		{"a read that the gateway refused", func(r *call.Record) { r.Status, r.ProblemType, r.Upstream = 403, "x", "" }, ""},
		{"a read whose caller went away", func(r *call.Record) { r.Status = 499 }, ""},
		{"reference data", func(r *call.Record) { r.Path = "/ebox/providers/nsso/referenceData/senders" }, ""},
		{"the list of providers", func(r *call.Record) { r.Upstream = "" }, ""},
		{"an opening that got no answer", func(r *call.Record) {
			r.Opening, r.Action, r.Status, r.UpstreamStatus, r.ProblemType = true, ebox.Open, 504, 0, "x"
		}, "opening"},
		{"an opening that never reached the provider", func(r *call.Record) {
			r.Opening, r.Action, r.Status, r.Sent = true, ebox.Open, 503, false
		}, ""},
		{"a write", func(r *call.Record) { *r = *write("w") }, "outcome"},
		{"a write whose intent was recorded and that was not sent", func(r *call.Record) {
			*r = *write("w")
			r.Intent, r.Sent = true, false
		}, "outcome"},
		{"a write that certainly did not happen", func(r *call.Record) { *r = *write("w"); r.Sent = false }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, l := opened(t)
			r := finished("x")
			c.edit(r)
			l.Done(r)
			testkit.Must(t, l.Close())
			if got, want := kindsIn(t, dir), strings.Join(strings.Fields("start "+c.want+" stop"), " "); got != want {
				t.Errorf("%s, want %s", got, want)
			}
		})
	}
}

// Many writes share a sync, and none goes on before it.
func TestAnIntentIsOnDiskBeforeItReturns(t *testing.T) {
	disk := &faulty{}
	dir, l := opened(t, disk.holds)
	release, before := disk.hangs(), disk.synced()
	var wg sync.WaitGroup
	const n = 100
	for i := range n {
		wg.Go(func() {
			r := write("w" + strconv.Itoa(i))
			if err := l.Intent(t.Context(), r); err != nil {
				t.Error(err)
			}
			if !r.Intent {
				t.Error("the record does not say that its outcome is awaited")
			}
			if text := whole(t, dir); !strings.Contains(text, `"requestId":"`+r.ID+`"`) {
				t.Errorf("%s is not there", r.ID)
			}
		})
	}
	testkit.Eventually(t, "all calls to wait", func() bool { return l.Status().Waiting == n })
	release()
	wg.Wait()
	if syncs := disk.synced() - before; syncs > 3 {
		t.Errorf("%d syncs for %d intents", syncs, n)
	}
	testkit.Must(t, l.Close())
	sound(t, dir)
}

func TestReadsAreOnDiskWithinASecondAndSignedAtLeastOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var shipped strings.Builder
		dir, l := opened(t, func(o *audit.Options) { o.Ship = &shipped })
		for i := range 3 {
			l.Done(finished("r"))
			time.Sleep(time.Second)
			if got := kindsIn(t, dir); strings.Count(got, "read") != i+1 {
				t.Errorf("after %d reads: %s", i+1, got)
			}
			time.Sleep(69 * time.Second)
		}
		time.Sleep(time.Hour) // nothing new, nothing to sign
		testkit.Must(t, l.Close())
		if got := kindsIn(t, dir); got != "start read checkpoint read checkpoint read checkpoint stop" {
			t.Error(got)
		}
		if beside := testkit.Read(t, beside(dir)); beside != shipped.String() || strings.Count(beside, "\n") != 5 {
			t.Errorf("beside the chain\n%sshipped\n%s", beside, shipped.String())
		}
		if r := sound(t, dir); r.Signed != r.Last || !r.Ended || r.Checkpoints != 5 {
			t.Errorf("%+v", r)
		}
	})
}

func TestADirectoryHasOneWriter(t *testing.T) {
	dir, l := opened(t)
	if _, err := audit.Open(options(dir)); err == nil || !strings.Contains(err.Error(), "audit.replica") {
		t.Errorf("a second one: %v", err)
	}
	other := options(dir)
	other.Replica = "r2"
	testkit.Must(t, mustOpen(t, other).Close())
	testkit.Must(t, l.Close())
	testkit.Must(t, mustOpen(t, options(dir)).Close())
	chains, err := audit.Chains(dir)
	if err != nil || len(chains) != 2 {
		t.Errorf("%v, %v", chains, err)
	}
	checkpoints, err := filepath.Rel(dir, beside(dir))
	testkit.Must(t, err)
	for path, want := range map[string]os.FileMode{"r1": 0o700, "r1/signing.key": 0o600, checkpoints: 0o600,
		"r1/lock": 0o600} {
		info, err := os.Stat(filepath.Join(dir, path))
		testkit.Must(t, err)
		if info.Mode().Perm() != want {
			t.Errorf("%s: %v", path, info.Mode())
		}
	}
}

// Whoever is refused has written what stands in place of a provider.
func TestARefusalNamesNoProviderThatCannotBe(t *testing.T) {
	dir, l := opened(t, masked)
	want := map[string]string{"79072300048": "***********", "a\u009b2J": "a\uFFFD2J",
		strings.Repeat("x", 5000): strings.Repeat("x", 400)}
	for written := range want {
		l.Refusal(time.Now(), &call.Record{Call: &call.Call{ID: written[:5], Provider: written}}, 0)
	}
	testkit.Must(t, l.Close())
	all, _ := find(t, dir, audit.Query{Events: true})
	for written, want := range want {
		i := slices.IndexFunc(all, func(f *audit.Found) bool { return f.RequestID == written[:5] })
		if i < 0 || all[i].Provider != want {
			t.Errorf("%.20q is recorded as %+v", written, all)
		}
	}
}

// Whoever may change messages writes what stands in the record of it. A line that no
// reader takes for a record would look like tampering, and be cut off at the next start.
func TestNoCallerWritesARecordThatDoesNotVerify(t *testing.T) {
	dir, l := opened(t)
	for name, body := range map[string]string{
		"one id of a megabyte": `{"items":[{"messageId":"é` + strings.Repeat("<", 1<<20-100) + `"}]}`,
		"a thousand of a kilobyte": `{"items":[` + strings.Repeat(`{"messageId":"`+strings.Repeat("é<&", 250)+
			`"},`, 1000) + `{}]}`,
	} {
		r := write(name)
		r.Messages, r.MoreMessages = ebox.MessagesIn("PATCH", ebox.ParsePath("/messages"), []byte(body))
		if !r.MoreMessages {
			t.Errorf("%s: the record does not say that there are more", name)
		}
		testkit.Must(t, l.Intent(t.Context(), r))
		l.Done(r)
	}
	testkit.Must(t, l.Close())
	sound(t, dir)
}
