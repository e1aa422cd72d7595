package whole_test

import (
	"encoding/json"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"ebox-gateway/internal/audit"
	"ebox-gateway/internal/simulator"
	"ebox-gateway/internal/testkit"
	"ebox-gateway/internal/testkit/lab"
)

// disk is one that can become full.
type disk struct{ full atomic.Bool }

func (d *disk) open(name string, flag int, perm fs.FileMode) (audit.File, error) {
	f, err := os.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &diskFile{f, d}, nil
}

type diskFile struct {
	*os.File
	disk *disk
}

func (f *diskFile) Write(b []byte) (int, error) {
	if f.disk.full.Load() {
		return 0, syscall.ENOSPC
	}
	return f.File.Write(b)
}

// recording starts a house that keeps evidence, and gives the directory of its chain.
func recording(t *testing.T, stopAfter string, edits ...func(*testing.T, string) string) (*house, string) {
	t.Helper()
	dir := t.TempDir()
	h := open(t, append(edits, add("audit: {dir: "+dir+", replica: r1, stopAfter: "+stopAfter+"}\n"))...)
	return h, filepath.Join(dir, "r1")
}

// evidence stops the gateway and gives every call of the chain, which must be sound.
func (h *house) evidence(dir string) []*audit.Found {
	h.t.Helper()
	testkit.Must(h.t, h.Stop())
	return inChain(h.t, dir, audit.Query{})
}

func inChain(t *testing.T, dir string, q audit.Query) (all []*audit.Found) {
	t.Helper()
	reports, _, err := audit.VerifyAll([]string{dir}, audit.VerifyOptions{})
	if err != nil || len(reports) != 1 || len(reports[0].Findings) > 0 || !reports[0].Ended ||
		reports[0].Signed != reports[0].Last {
		t.Fatalf("%v, %+v", err, reports)
	}
	if _, err := audit.Search(dir, q, func(f *audit.Found) error { all = append(all, f); return nil }); err != nil {
		t.Fatal(err)
	}
	return all
}

func summary(all []*audit.Found) string {
	lines := make([]string, len(all))
	for i, f := range all {
		lines[i] = strings.TrimSpace(strings.Join([]string{string(f.Kind), f.Method, f.Action, f.AnswerFrom,
			http.StatusText(f.Status), strings.Join(f.Messages, ",")}, " "))
	}
	return strings.Join(lines, "\n")
}

func TestEvidenceOfWhatACallerDid(t *testing.T) {
	t.Parallel()
	h, dir := recording(t, "4h")
	const first = messages + "/" + simulator.FirstMessage
	h.get(messages).want(t, 200)
	h.get(first, "X-Actor: an\u009b.peeters", "X-Purpose: yearly audit").want(t, 200)
	h.get(document).want(t, 200)
	h.get(messages+"/none").want(t, 404)
	h.get(box+"/../referenceData/messageTypes").want(t, 400)
	h.get("/enterprises/"+mandated+nsso+"/referenceData/messageTypes").want(t, 200)
	h.get("/ebox/providers").want(t, 200)
	h.get("/ebox/registry/messageRegistries").want(t, 200)
	h.get("/grant/citizen/health").want(t, 200)
	h.get("/enterprises/0206731644/ebox/providers/nsso/ebox/messages").want(t, 400)
	hideMessage(h).want(t, 200)
	h.fault(simulator.Fault{Upstream: upstreamOf(nsso), Kind: simulator.FaultStatus, Status: 500, Count: 2})
	h.get(first).want(t, 500) // a read that fails is none,
	h.get(document).want(t, 500)
	inbox := h.get(inboxPath).want(t, 200).header.Get("X-Request-Id")
	h.fault(simulator.Fault{Upstream: upstreamOf(nsso), Kind: simulator.FaultStatus, Status: 200, Body: `{"items":[]}`,
		ContentType: "application/json", Header: http.Header{"Cache-Control": {"max-age=600"}}})
	for range 3 { // answers from the cache are recorded one by one
		h.get(messages).want(t, 200)
	}
	got := h.evidence(dir)
	want := strings.Join([]string{
		"read GET list upstream OK",
		"read GET list upstream OK " + simulator.FirstMessage,
		"opening GET open upstream OK " + simulator.FirstMessage,
		"outcome PATCH change upstream OK " + simulator.FirstMessage,
		"opening GET open upstream Internal Server Error " + simulator.FirstMessage,
		"read GET list upstream OK",
		"read GET list cache OK",
		"read GET list cache OK",
	}, "\n")
	parts := inChain(t, dir, audit.Query{RequestID: inbox})
	if len(parts) != 2 || parts[0].Provider == parts[1].Provider || parts[0].ParentID != inbox {
		t.Errorf("of the inbox: %s", summary(parts))
	}
	got = slices.DeleteFunc(got, func(f *audit.Found) bool { return f.ParentID == inbox })
	if text := summary(got); text != want {
		t.Fatalf("%s\nwant\n%s", text, want)
	}
	for _, f := range got {
		if f.Enterprise != mandated || f.Client != "demo" || f.Source != "127.0.0.1" || f.Provider != "nsso" ||
			f.RequestID == "" ||
			f.AnswerFrom == "upstream" && (len(f.TokenHash) != 64 || f.TraceID == "") {
			t.Errorf("%+v", f)
		}
	}
	if got[1].Actor != "an\ufffd.peeters" || got[1].Purpose != "yearly audit" || got[2].Attachment != "1" ||
		got[2].BytesOut == 0 || got[3].Intent == 0 || got[3].Sent == nil || !*got[3].Sent {
		t.Errorf("%+v\n%+v\n%+v", got[1], got[2], got[3])
	}
}

// The logs are begun anew on SIGHUP if they were moved away, before anything else is refused.
func TestARefusalIsInTheEvidenceAndInALogOfItsOwn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	security, shipped := filepath.Join(dir, "security.log"), filepath.Join(dir, "shipped.jsonl")
	f := watched(t, add("audit: {dir: "+dir+"/evidence, replica: r1, stopAfter: 4h, checkpoints: "+shipped+"}\n"),
		edit("log: {format: text}", "log: {format: text, security: "+security+"}"))
	f.get("/enterprises/"+unlisted+nsso+"/ebox/messages").want(t, 403)
	eventually(t, "the line of a refusal", func() bool {
		text, _ := os.ReadFile(security)
		return strings.Contains(string(text), `"claimed":"`+unlisted+`"`) &&
			strings.Contains(string(text), "missingPermission")
	})
	for _, path := range []string{security, shipped} {
		testkit.Must(t, os.Rename(path, path+".old"))
	}
	f.hup <- syscall.SIGHUP
	for _, path := range []string{security, shipped} {
		eventually(t, "the new file "+path, func() bool { _, err := os.Stat(path); return err == nil })
	}
	testkit.Must(t, f.Stop())
	if text, err := os.ReadFile(shipped); err != nil || !strings.Contains(string(text), "ebox-gateway-evidence/r1") {
		t.Errorf("the last checkpoint is not in the new file: %v, %s", err, text)
	}
	refusals := inChain(t, filepath.Join(dir, "evidence", "r1"), audit.Query{Events: true})
	refusals = slices.DeleteFunc(refusals, func(f *audit.Found) bool { return f.Kind != audit.KindRefusal })
	if len(refusals) != 1 || !strings.Contains(refusals[0].Text, `"claimed":"`+unlisted+`"`) {
		t.Errorf("the chain has %d refusals: %+v", len(refusals), refusals)
	}
}

// A write is not sent before its intent is on disk: with a disk that takes nothing, and
// no patience, nothing of it is sent to the upstream.
func TestNoWriteWithoutItsIntent(t *testing.T) {
	t.Parallel()
	h, dir := recording(t, "0s")
	h.get(messages).want(t, 200)
	// Otherwise this read might find the full disk, and the write be refused at the door. The next request on its
	// connection begins when its record is complete.
	h.get("/ebox/providers").want(t, 200)
	eventually(t, "the read to be on disk", func() bool { return h.status().Evidence.Waiting == 0 })
	h.disk.full.Store(true)
	before := h.sim.RequestCount(simulator.ProviderUpstream("nsso"))
	a := hideMessage(h).want(t, 503)
	if p := a.problem(t); !strings.Contains(p["detail"].(string), "evidence") || a.header.Get("Retry-After") == "" {
		t.Errorf("%v", p)
	}
	h.get(messages).want(t, 503) // even from the cache
	if after := h.sim.RequestCount(simulator.ProviderUpstream("nsso")); after != before {
		t.Errorf("%d requests were sent", after-before)
	}
	h.operate("GET", "/readyz").want(t, 503)
	if s := h.status(); s.Evidence == nil || !s.Evidence.Refusing {
		t.Errorf("%+v", s.Evidence)
	}
	h.disk.full.Store(false)
	eventually(t, "the disk to be noticed", func() bool { return h.get(messages).status == 200 })
	hideMessage(h).want(t, 200)
	eventually(t, "health", func() bool { return h.status().Health == "UP" })
	text := summary(h.evidence(dir))
	if !strings.Contains(text, "outcome PATCH change gateway Service Unavailable") ||
		!strings.Contains(text, "outcome PATCH change upstream OK "+simulator.FirstMessage) {
		t.Error(text)
	}
}

// What operators do is evidence, and evidence stays where it is while the gateway runs.
func TestWhatOperatorsDoIsEvidence(t *testing.T) {
	t.Parallel()
	h, dir := recording(t, "4h")
	for path, status := range map[string]int{"/cache/purge?enterprise=" + mandated: 200,
		"/cache/purge?enterprise=none": 400} {
		h.operate("POST", path).want(t, status)
	}
	for audit, taken := range map[string]bool{"dir: " + filepath.Dir(dir) + ", stopAfter: 0s": true,
		"dir: " + t.TempDir(): false} {
		cfg, err := lab.Read(lab.Config(t, h.sim)+"audit: {replica: r1, "+audit+"}\n", h.dir)
		if err == nil {
			err = h.Gateway.Replace(cfg, "")
		}
		if (err == nil) != taken || err != nil && !strings.Contains(err.Error(), "restart") {
			t.Errorf("%s: %v", audit, err)
		}
	}
	h.evidence(dir)
	var events []string
	for _, f := range inChain(t, dir, audit.Query{Events: true}) {
		var e struct{ Result, Changed string }
		testkit.Must(t, json.Unmarshal([]byte(f.Text), &e))
		switch f.Kind {
		case audit.KindAdministration:
			events = append(events, f.Source+" "+f.Method+" "+f.URL)
		case audit.KindConfiguration, audit.KindKey:
			events = append(events, strings.TrimSpace(string(f.Kind)+" "+e.Result+" "+e.Changed))
		}
	}
	slices.Sort(events)
	if got := strings.Join(events, ", "); got != "127.0.0.1 POST /cache/purge?enterprise="+mandated+
		", configuration rejected, configuration started, configuration taken audit.stopAfter, key" {
		t.Error(got)
	}
}
