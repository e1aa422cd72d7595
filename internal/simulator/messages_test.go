package simulator_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/simulator"
	"ebox-gateway/internal/testkit"
)

func (l *lab) consumer() sending { return l.as(l.token(simulator.ScopeDocumentConsumer), mandated) }

type messagePage = itemPage[message]

// message is what is looked at of a message as a client reads it.
type message struct {
	ID        string            `json:"messageId"`
	Subject   map[string]string `json:"subject"`
	Published string            `json:"publicationDate"`
	Read      bool              `json:"readStatus"`
	Visible   bool              `json:"visible"`
	Partition string            `json:"partition"`
	OrgID     string            `json:"senderOrganizationId"` // before version 3
	Sender    struct {
		Number string `json:"enterpriseNumber"`
	} `json:"sender"`
	Documents itemPage[struct {
		Content string `json:"contentHref"`
	}] `json:"attachments"`
	Links map[string]struct{ Href string } `json:"_links"`
}

// itemPage is a page of either form.
type itemPage[T any] struct {
	Items             []T
	Total, TotalItems int
}

func (p itemPage[T]) count() int { return p.Total + p.TotalItems }

func TestMessagesAreFiltered(t *testing.T) {
	l := newLab(t)
	get := l.consumer()
	base := l.ProviderURL("nsso") + "/ebox/messages?pageSize=100&"
	list := func(query string) messagePage { return decode[messagePage](t, get("GET", base+query, "")) }
	all := list("").Items
	middle := all[9].Published
	day := middle[:len(time.DateOnly)]
	since := slices.IndexFunc(all, func(m message) bool { return m.Published[:len(day)] == day })
	for query, want := range map[string]int{
		"readStatus=true&something=else": 12, "readStatus=false": 28, "visible=false": 0, "registeredMail=true": 4,
		"receivedAfter=" + middle: 9, "receivedBefore=" + middle: 30, "receivedAfter=" + day: since,
		"expiredAfter=2999-01-01": 0, "q=Message+7&qlang=fr": 1, "q=Message+7&qlang=nl": 0, "messageTypeId=invoice": 0,
		"senderApplicationId=dmfa": 40, "senderOrganizationId=0206731645": 0,
	} {
		if got := list(query); got.count() != want || len(got.Items) != want {
			t.Errorf("%s: %d messages, want %d", query, got.Total, want)
		}
	}
	for _, query := range []string{"readStatus=yes", "receivedBefore=yesterday", "q=x", "page=0", "pageSize=101"} {
		is(t, get("GET", l.ProviderURL("nsso")+"/ebox/messages?"+query, ""), 400, "", query)
	}
}

func TestOpeningTheMainContentMarksItRead(t *testing.T) {
	l := newLab(t)
	get := l.consumer()
	base := l.ProviderURL("nsso") + "/ebox/messages/"
	read := func(id string) bool { return decode[message](t, get("GET", base+id, "")).Read }
	for _, c := range []struct {
		method, path, says string
		opens              bool
	}{
		{"GET", simulator.FirstMessage + "/attachments", "", false},
		{"GET", simulator.FirstMessage + "/attachments/1", "", false},
		{"GET", simulator.FirstMessage + "/attachments/2/content", "", false}, // an annex
		{"GET", simulator.FirstMessage + "/attachments/1/content", "%PDF-", true},
		{"HEAD", simulator.LargeMessage + "/attachments/1/content", "", true},
		{"GET", simulator.BodyMessage + "/paymentData", "amount", false},
		{"GET", simulator.BodyMessage + "/body", mandated.String(), true},
	} {
		is(t, get(c.method, base+c.path, ""), 200, c.says, c.path)
		if got := read(c.path[:len(simulator.FirstMessage)]); got != c.opens {
			t.Errorf("%s %s: read is %t", c.method, c.path, got)
		}
	}
	// Three of the 28 that were not, which the summary counts too.
	is(t, get("GET", l.ProviderURL("nsso")+"/ebox", ""), 200, `"numberOfUnreadMessages":25`, "the summary")
	other := l.as(l.token(simulator.ScopeDocumentConsumer), alsoMandated)
	if decode[message](t, other("GET", base+simulator.FirstMessage, "")).Read {
		t.Error("the message of another enterprise is read too")
	}
	is(t, other("GET", base+simulator.BodyMessage+"/structuredData", ""), 200, alsoMandated.String(), "structured data")
	if !decode[message](t, other("GET", base+simulator.BodyMessage, "")).Read {
		t.Error("structured data did not open the message")
	}
}

func TestPatchChangesAllOrNothing(t *testing.T) {
	l := newLab(t)
	send := l.consumer()
	target := l.ProviderURL("nsso") + "/ebox/messages"
	first := func() message { return decode[message](t, send("GET", target+"/"+simulator.FirstMessage, "")) }
	const hide, toHR = `{"messageId":"` + simulator.FirstMessage + `","visible":false}`, `,"partition":"HR"}`
	for _, c := range []struct {
		items, mediaType string
		want             int
	}{
		{hide, "application/json", 415},
		{hide + `,{"messageId":"1","visible":false}`, mergePatch, 404},
		{hide + `,{"messageId":"` + simulator.LargeMessage + `"}`, mergePatch, 400},
		{strings.Replace(hide, "}", `,"partition":"ABC"}`, 1), mergePatch, 400},
		{"", mergePatch, 400},
		{"{", mergePatch, 400},
	} {
		is(t, send("PATCH", target, `{"items":[`+c.items+`]}`, "Content-Type", c.mediaType), c.want, "", c.items)
	}
	if !first().Visible {
		t.Error("a change that was refused was made in part")
	}
	both := `{"items":[` + strings.Replace(hide, "}", toHR, 1) +
		`,{"messageId":"` + simulator.LargeMessage + `","visible":false}]}`
	is(t, send("PATCH", target, both, "Content-Type", mergePatch), 200, "", "two messages")
	if page := decode[messagePage](t, send("GET", target+"?visible=false", "")); page.count() != 2 {
		t.Errorf("%d hidden messages", page.count())
	}
	if m := first(); m.Partition != "HR" || m.Visible {
		t.Errorf("after moving: %+v", m)
	}
}

func TestAListIsCompressedForThoseWhoTakeIt(t *testing.T) {
	l := newLab(t)
	get := l.consumer()
	target := l.ProviderURL("nsso") + "/ebox/messages"
	plain, coded := get("GET", target, "", "Accept-Encoding", "identity"),
		get("GET", target, "", "Accept-Encoding", "br, gzip")
	z, err := gzip.NewReader(bytes.NewReader(coded.body))
	if err != nil || coded.header.Get("Content-Encoding") != "gzip" {
		t.Fatalf("%v, coding %q", err, coded.header.Get("Content-Encoding"))
	}
	text, err := io.ReadAll(z)
	if err != nil || !bytes.Equal(text, plain.body) || coded.header.Get("ETag") == plain.header.Get("ETag") {
		t.Errorf("%v, same text %t", err, bytes.Equal(text, plain.body))
	}
}

func TestThePartitionAPINamesTheEnterpriseInItsPath(t *testing.T) {
	l := newLab(t)
	token := l.token(simulator.ScopeDocumentConsumer)
	base := l.PartitionURL() + "/ebox/" + mandated.String()
	for _, c := range []struct {
		name, path string
		represent  enterprise.Number
		want       int
		says       string
	}{
		{"rules", base + "/routingRules", 0, 200, `"partition":"HR"`},
		{"a mandate", base + "/hasMandate?operation=publish", mandated, 200, "true"},
		{"none", l.PartitionURL() + "/ebox/0800002352/hasMandate?operation=publish", 0, 200, "false"},
		{"that of another office", base + "/hasMandate?operation=publish&mandataryEnterpriseNumber=0474028805", 0,
			200, "true"},
		{"no operation", base + "/hasMandate", 0, 400, "operation"},
		{"a number with dots", l.PartitionURL() + "/ebox/0206.731.645/routingRules", 0, 400, "ten digits"},
		{"header and path disagree", base + "/routingRules", alsoMandated, 400, "different"},
		{"no mandate", l.PartitionURL() + "/ebox/0800002352/routingRules", 0, 403, "no mandate"},
		{"the path that no source has", l.PartitionURL() + "/partitions", mandated, 404, ""},
	} {
		is(t, l.as(token, c.represent)("GET", c.path, ""), c.want, c.says, c.name)
	}
}

func TestPreferencesAndConsents(t *testing.T) {
	l := newLab(t)
	send := l.as(l.token(simulator.ScopePreference), mandated)
	target := l.FederationURL() + "/eboxPreferences"
	patch := func(number string) reply {
		return send("PATCH", target, `{"eboxId":{"eboxType":"ENTERPRISE","eboxIdValue":"`+number+`"},"exclusivelyEbox":true}`,
			"Content-Type", mergePatch)
	}
	is(t, patch(alsoMandated.String()), 403, "", "the preferences of another")
	is(t, patch(mandated.String()), 200, `"exclusivelyEbox":true`, "one's own")
	search :=
		`{"eboxType":"ENTERPRISE","eboxIdType":"EnterpriseNumber","eboxIdValueList":["0206731645","0800002352","0212148896"]}`
	found := decode[[]struct {
		ExclusivelyEbox       bool
		TotalNumberOfMessages int
	}](t, send("POST", target+"/search", search))
	if len(found) != 2 || !found[0].ExclusivelyEbox || found[1].ExclusivelyEbox || found[0].TotalNumberOfMessages != 52 {
		t.Errorf("the one that is unknown is to be missing: %+v", found)
	}
	is(t, send("GET", target, ""), 405, "", "GET, which the API does not have")
	search = `{"eboxType":"CITIZEN","eboxIdValueList":["79072300048"]}`
	is(t, send("POST", l.FederationURL()+"/citizenEboxConsents/search", search), 200, `"hasConsent":true`, "consents")
}

func TestTheListOfProvidersCanChange(t *testing.T) {
	l := newLab(t)
	calls := func(id, scope string, want int) {
		t.Helper()
		is(t, l.as(l.token(scope), mandated)("GET", l.ProviderURL(id)+"/ebox", ""), want, "", id)
	}
	calls("utilities", simulator.ScopeSummaryOwnEbox, 503) // in maintenance
	calls("upcoming", simulator.ScopeDocumentConsumer, 404)
	calls("retired", simulator.ScopeSummaryOwnEbox, 410)
	p := l.Providers()[0]
	p.Maintenance = []simulator.Window{{l.now().Add(-time.Minute), l.now().Add(time.Hour)}}
	testkit.Must(t, l.SetProvider(p))
	calls("nsso", simulator.ScopeDocumentConsumer, 503)
	l.advance(2 * time.Hour)
	calls("nsso", simulator.ScopeDocumentConsumer, 200)
	testkit.Must(t, l.SetProvider(simulator.Provider{ID: "new", APIVersion: "3.0", Activation: "2020-01-01"}))
	calls("new", simulator.ScopeDocumentConsumer, 200)
	for _, bad := range []simulator.Provider{{}, {ID: "a/b"}} {
		if err := l.SetProvider(bad); err == nil {
			t.Errorf("%q was taken", bad.ID)
		}
	}
}

func TestAnOlderRegistryAnswersInItsForm(t *testing.T) {
	l := newLab(t)
	get := l.as(l.token(simulator.ScopeMessagesFull), mandated)
	base := l.ProviderURL("regional")
	if strings.HasPrefix(base, "http://"+l.Address()) {
		t.Fatalf("%s is on the host of the others", base)
	}
	r := get("GET", base+"/ebox/messages", "")
	if !bytes.Contains(r.body, []byte(`http:\/\/`)) || bytes.Contains(r.body, []byte("://")) {
		t.Errorf("slashes are not escaped in %.200s", r.body)
	}
	if page := decode[messagePage](t, r); page.count() != 12 ||
		!strings.HasPrefix(page.Items[0].Links["self"].Href, base+"/ebox/messages/") {
		t.Errorf("%d messages, self %q", page.count(), page.Items[0].Links["self"].Href)
	}
	for name, path := range map[string]string{
		"unknown path": "/nothing", "a date with a time": "/ebox/messages?receivedAfter=2026-01-01T00:00:00Z",
	} {
		r := get("GET", base+path, "")
		m := decode[struct{ ID, Code, Message string }](t, r)
		if r.status < 400 || m.ID == "" || m.Code == "" || m.Message == "" || r.header.Get("Content-Type") != jsonType {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
	old := strings.Fields("receiptDate senderOrganizationId bodyMainContent replyAuthorized mainContent attachmentSigned")
	since := strings.Fields("publicationDate sender isBodyMainContent isReplyAuthorized isMainContent isAttachmentSigned")
	for _, c := range []struct {
		provider, scope string
		has, lacks      []string
	}{{"nsso", simulator.ScopeDocumentConsumer, since, old}, {"regional", simulator.ScopeMessagesFull, old, since}} {
		url := l.ProviderURL(c.provider) + "/ebox/messages/" + simulator.FirstMessage
		r := l.as(l.token(c.scope), mandated)("GET", url, "")
		for i, name := range c.has {
			if !bytes.Contains(r.body, []byte(`"`+name+`":`)) || bytes.Contains(r.body, []byte(`"`+c.lacks[i]+`":`)) {
				t.Errorf("%s: no %s, or %s, in %s", c.provider, name, c.lacks[i], r.body)
			}
		}
	}
}
