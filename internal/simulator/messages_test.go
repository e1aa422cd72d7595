package simulator

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"ebox-gateway/internal/enterprise"
)

func (l *lab) consumer() sending { return l.as(l.token(ScopeDocumentConsumer), mandated) }

type (
	messagePage    = itemPage[shownMessage]
	attachmentPage = itemPage[attachment]
)

// shownMessage is a message as a client reads it.
type shownMessage struct {
	message
	Documents *attachmentPage `json:"attachments"`
}

// digestIn is the digest that an attachment was shown with.
func digestIn(a attachment) any { return a.Digest.(map[string]any)["digestValue"] }

// itemPage is a page of either form.
type itemPage[T any] struct {
	Items             []T
	Total, TotalItems int
	Next              string
	Links             links `json:"_links"`
}

func (p itemPage[T]) count() int { return p.Total + p.TotalItems }

func TestMessagesArePagedNewestFirst(t *testing.T) {
	l := newLab(t)
	get := l.consumer()
	for _, form := range []PageForm{PagePlain, PageHAL} {
		if err := l.SetPageForm("nsso", form); err != nil {
			t.Fatal(err)
		}
		seen, last := map[string]bool{}, l.now()
		for target := l.ProviderURL("nsso") + "/ebox/messages?pageSize=15"; target != ""; {
			r := get("GET", target, "")
			page := decode[messagePage](t, r)
			if page.count() != 40 || (form == PagePlain) != (page.Total == 40) {
				t.Fatalf("%s: total %d, totalItems %d", form, page.Total, page.TotalItems)
			}
			for _, m := range page.Items {
				if seen[m.ID] || m.Published.IsZero() || m.Published.After(last) {
					t.Fatalf("message %s of %s is out of order or repeated", m.ID, m.Published)
				}
				seen[m.ID], last = true, m.Published
			}
			next, field := page.Next, ""
			if form == PageHAL {
				if next = page.Links["next"].Href; next != "" {
					field = "<" + next + `>; rel="next"`
				}
			}
			if r.header.Get("Link") != field {
				t.Errorf("%s: Link %q beside next %q", form, r.header.Get("Link"), next)
			}
			target = next
		}
		if len(seen) != 40 {
			t.Errorf("%s: %d messages", form, len(seen))
		}
	}
	if l.SetPageForm("nobody", PageHAL) == nil || l.SetPageForm("nsso", "other") == nil {
		t.Error("an unknown provider or form was taken")
	}
}

func TestMessagesAreFiltered(t *testing.T) {
	l := newLab(t)
	get := l.consumer()
	base := l.ProviderURL("nsso") + "/ebox/messages?pageSize=100&"
	list := func(query string) messagePage { return decode[messagePage](t, get("GET", base+query, "")) }
	middle := list("").Items[9].Published.Format(time.RFC3339Nano)
	for query, want := range map[string]int{
		"readStatus=true&something=else": 12, "readStatus=false": 28, "visible=false": 0, "registeredMail=true": 4,
		"receivedAfter=" + middle: 9, "receivedBefore=" + middle: 30, "receivedAfter=2999-01-01": 0,
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
		{"GET", FirstMessage + "/attachments", "", false},
		{"GET", FirstMessage + "/attachments/1", "", false},
		{"GET", FirstMessage + "/attachments/2/content", "", false}, // an annex
		{"GET", FirstMessage + "/attachments/1/content", "%PDF-", true},
		{"HEAD", LargeMessage + "/attachments/1/content", "", true},
		{"GET", BodyMessage + "/paymentData", "amount", false},
		{"GET", BodyMessage + "/body", mandated.String(), true},
	} {
		is(t, get(c.method, base+c.path, ""), 200, c.says, c.path)
		if got := read(c.path[:len(FirstMessage)]); got != c.opens {
			t.Errorf("%s %s: read is %t", c.method, c.path, got)
		}
	}
	// Three of the 28 that were not, which the summary counts too.
	is(t, get("GET", l.ProviderURL("nsso")+"/ebox", ""), 200, `"numberOfUnreadMessages":25`, "the summary")
	other := l.as(l.token(ScopeDocumentConsumer), alsoMandated)
	if decode[message](t, other("GET", base+FirstMessage, "")).Read {
		t.Error("the message of another enterprise is read too")
	}
	is(t, other("GET", base+BodyMessage+"/structuredData", ""), 200, alsoMandated.String(), "structured data")
	if !decode[message](t, other("GET", base+BodyMessage, "")).Read {
		t.Error("structured data did not open the message")
	}
}

func TestContentHasRangesDigestAndTag(t *testing.T) {
	l := newLab(t)
	get := l.consumer()
	page := decode[attachmentPage](t, get("GET", l.ProviderURL("nsso")+"/ebox/messages/"+LargeMessage+"/attachments", ""))
	for i, a := range page.Items[:3] {
		r := get("GET", a.Content, "")
		sum := sha256.Sum256(r.body)
		if int64(len(r.body)) != largeSizes[i] || a.Size*1024 != float64(largeSizes[i]) ||
			base64.RawURLEncoding.EncodeToString(sum[:]) != digestIn(a) ||
			!strings.Contains(r.header.Get("Content-Disposition"), a.FileName) {
			t.Errorf("attachment %s: %d bytes, %v", a.ID, len(r.body), r.header)
		}
	}
	big := page.Items[4].Content
	whole := get("HEAD", big, "")
	tag := whole.header.Get("ETag")
	end := get("GET", big, "", "Range", "bytes=-10", "If-Range", tag)
	if len(end.body) != 10 || end.header.Get("Content-Range") != "bytes 67108854-67108863/67108864" {
		t.Errorf("range: %d %v", end.status, end.header)
	}
	r := get("GET", big, "", "If-None-Match", tag)
	if whole.header.Get("Content-Length") != "67108864" || r.status != 304 {
		t.Errorf("length %v, If-None-Match: %d", whole.header, r.status)
	}
}

func TestReferenceDataMayBeKept(t *testing.T) {
	l := newLab(t)
	get := l.consumer()
	base := l.ProviderURL("nsso") + "/referenceData"
	for _, path := range []string{"/messageTypes", "/messageTypes/invoice"} {
		r := get("GET", base+path, "")
		if r.status != 200 || !strings.Contains(r.header.Get("Cache-Control"), "public, max-age=172800") {
			t.Errorf("%s: %d %q", path, r.status, r.header.Get("Cache-Control"))
		}
		if again := get("GET", base+path, "", "If-None-Match", r.header.Get("ETag")); again.status != 304 ||
			len(again.body) > 0 || again.header.Get("ETag") == "" {
			t.Errorf("%s again: %d", path, again.status)
		}
	}
	type organization struct {
		Logos []struct {
			Content string `json:"contentHref"`
		} `json:"organizationLogos"`
	}
	orgs := decode[itemPage[organization]](t, get("GET", base+"/senderOrganizations?pageSize=1", ""))
	if len(orgs.Items) != 1 || orgs.count() != 2 || !strings.HasSuffix(orgs.Next, "?page=2&pageSize=1") {
		t.Fatalf("%+v", orgs)
	}
	// The link to a logo is an absolute path.
	if r := get("GET", l.main.base+orgs.Items[0].Logos[0].Content, ""); http.DetectContentType(r.body) != "image/png" {
		t.Errorf("logo: %d", r.status)
	}
	is(t, get("GET", base+"/messageTypes/none", ""), 404, "", "unknown type")
}

func TestPatchChangesAllOrNothing(t *testing.T) {
	l := newLab(t)
	send := l.consumer()
	target := l.ProviderURL("nsso") + "/ebox/messages"
	first := func() message { return decode[message](t, send("GET", target+"/"+FirstMessage, "")) }
	const merge = "application/merge-patch+json"
	const hide, toHR = `{"messageId":"` + FirstMessage + `","visible":false}`, `,"partition":"HR"}`
	for _, c := range []struct {
		items, mediaType string
		want             int
	}{
		{hide, "application/json", 415},
		{hide + `,{"messageId":"1","visible":false}`, merge, 404},
		{hide + `,{"messageId":"` + LargeMessage + `"}`, merge, 400},
		{strings.Replace(hide, "}", `,"partition":"ABC"}`, 1), merge, 400},
		{"", merge, 400},
		{"{", merge, 400},
	} {
		is(t, send("PATCH", target, `{"items":[`+c.items+`]}`, "Content-Type", c.mediaType), c.want, "", c.items)
	}
	if !first().Visible {
		t.Error("a change that was refused was made in part")
	}
	both := `{"items":[` + strings.Replace(hide, "}", toHR, 1) + `,{"messageId":"` + LargeMessage + `","visible":false}]}`
	is(t, send("PATCH", target, both, "Content-Type", merge), 200, "", "two messages")
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

func TestAMessageCanBeAddedFromOutside(t *testing.T) {
	l := newLab(t)
	id, err := l.AddMessage("nsso", mandated, Draft{Subject: "Huge", Sizes: []int64{3 << 20, 0}, Body: "see inside"})
	if err != nil {
		t.Fatal(err)
	}
	get := l.consumer()
	newest := decode[messagePage](t, get("GET", l.ProviderURL("nsso")+"/ebox/messages?pageSize=1", "")).Items[0]
	if newest.ID != id || newest.Subject["fr"] != "Huge" || newest.Documents.count() != 2 {
		t.Fatalf("%+v", newest)
	}
	for i, size := range []int{3 << 20, 0} {
		if r := get("GET", newest.Documents.Items[i].Content, ""); r.status != 200 || len(r.body) != size {
			t.Errorf("document %d: %d, %d bytes", i, r.status, len(r.body))
		}
	}
	for provider, d := range map[string]Draft{"nobody": {}, "nsso": {Sizes: []int64{-1}}} {
		if _, err := l.AddMessage(provider, mandated, d); err == nil {
			t.Errorf("%s took %+v", provider, d)
		}
	}
}

func TestThePartitionAPINamesTheEnterpriseInItsPath(t *testing.T) {
	l := newLab(t)
	token := l.token(ScopeDocumentConsumer)
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
	send := l.as(l.token(ScopePreference), mandated)
	target := l.FederationURL() + "/eboxPreferences"
	patch := func(number string) reply {
		return send("PATCH", target, `{"eboxId":{"eboxType":"ENTERPRISE","eboxIdValue":"`+number+`"},"exclusivelyEbox":true}`,
			"Content-Type", "application/merge-patch+json")
	}
	is(t, patch(alsoMandated.String()), 403, "", "the preferences of another")
	is(t, patch(mandated.String()), 200, `"exclusivelyEbox":true`, "one's own")
	search :=
		`{"eboxType":"ENTERPRISE","eboxIdType":"EnterpriseNumber","eboxIdValueList":["0206731645","0800002352","0212148896"]}`
	found := decode[[]preferencesView](t, send("POST", target+"/search", search, "Content-Type", jsonType))
	if len(found) != 2 || !found[0].Exclusively || found[1].Exclusively || found[0].Total != 52 {
		t.Errorf("the one that is unknown is to be missing: %+v", found)
	}
	is(t, send("GET", target, ""), 405, "", "GET, which the API does not have")
	is(t, send("POST", l.FederationURL()+"/citizenEboxConsents/search",
		`{"eboxType":"CITIZEN","eboxIdValueList":["79072300048"]}`, "Content-Type", jsonType), 200, `"hasConsent":true`,
		"consents")
}

func TestTheRegistryHasBothShapes(t *testing.T) {
	l := newLab(t)
	get := l.as(l.token(ScopeRegistry), 0)
	items := decode[itemPage[Provider]](t, get("GET", l.RegistryURL()+"/messageRegistries", "")).Items
	array := decode[[]Provider](t, get("GET", l.OldRegistryURL()+"/messageProviders", ""))
	if len(items) != 5 || len(array) != 5 {
		t.Fatalf("%d and %d providers", len(items), len(array))
	}
	for i, p := range items {
		if array[i].ID != p.ID || p.URL != l.ProviderURL(p.ID) || p.Name["fr"] == "" {
			t.Errorf("%+v", p)
		}
	}
	for _, base := range []string{l.OldRegistryURL() + "/messageProviders/", l.RegistryURL() + "/messageRegistries/"} {
		is(t, get("GET", base+"regional", ""), 200, `"apiSupportedVersion":"2.1"`, "one provider")
		is(t, get("GET", base+"none", ""), 404, "", "unknown provider")
	}
}

func TestTheListOfProvidersCanChange(t *testing.T) {
	l := newLab(t)
	calls := func(id, scope string, want int) {
		t.Helper()
		is(t, l.as(l.token(scope), mandated)("GET", l.ProviderURL(id)+"/ebox", ""), want, "", id)
	}
	calls("utilities", ScopeSummaryOwnEbox, 503) // in maintenance
	calls("upcoming", ScopeDocumentConsumer, 404)
	calls("retired", ScopeSummaryOwnEbox, 410)
	p := l.Providers()[0]
	p.Maintenance = []Window{{l.now().Add(-time.Minute), l.now().Add(time.Hour)}}
	if err := l.SetProvider(p); err != nil {
		t.Fatal(err)
	}
	calls("nsso", ScopeDocumentConsumer, 503)
	l.advance(2 * time.Hour)
	calls("nsso", ScopeDocumentConsumer, 200)
	if err := l.SetProvider(Provider{ID: "new", APIVersion: "3.0", Activation: "2020-01-01"}); err != nil {
		t.Fatal(err)
	}
	calls("new", ScopeDocumentConsumer, 200)
	for _, bad := range []Provider{{}, {ID: "a/b"}} {
		if err := l.SetProvider(bad); err == nil {
			t.Errorf("%q was taken", bad.ID)
		}
	}
}

func TestAnOlderRegistrySpeaksItsDialect(t *testing.T) {
	l := newLab(t)
	get := l.as(l.token(ScopeMessagesFull), mandated)
	base := l.ProviderURL("regional")
	if strings.HasPrefix(base, l.main.base) {
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
		if m := decode[statusMessage](t, r); r.status < 400 || m.ID == "" || m.Code == "" || m.Message == "" ||
			r.header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
	old := strings.Fields("receiptDate senderOrganizationId bodyMainContent replyAuthorized mainContent attachmentSigned")
	since := strings.Fields("publicationDate sender isBodyMainContent isReplyAuthorized isMainContent isAttachmentSigned")
	for _, c := range []struct {
		provider, scope string
		has, lacks      []string
	}{{"nsso", ScopeDocumentConsumer, since, old}, {"regional", ScopeMessagesFull, old, since}} {
		r := l.as(l.token(c.scope), mandated)("GET", l.ProviderURL(c.provider)+"/ebox/messages/"+FirstMessage, "")
		for i, name := range c.has {
			if !bytes.Contains(r.body, []byte(`"`+name+`":`)) || bytes.Contains(r.body, []byte(`"`+c.lacks[i]+`":`)) {
				t.Errorf("%s: no %s, or %s, in %s", c.provider, name, c.lacks[i], r.body)
			}
		}
	}
}
