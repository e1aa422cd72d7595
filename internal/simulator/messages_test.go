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

func (l *lab) consumer() func(method, target, body string, headers ...string) reply {
	return l.as(l.token(ScopeDocumentConsumer), mandated)
}

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
		seen, last := map[string]bool{}, l.now.Now()
		for target := l.ProviderURL("nsso") + "/ebox/messages?pageSize=15"; target != ""; {
			r := get("GET", target, "")
			page := decode[messagePage](t, r)
			if form == PagePlain && page.Total != 40 || form == PageHAL && page.TotalItems != 40 || page.count() != 40 {
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
	all := list("").Items
	middle := all[9].Published.Format(time.RFC3339Nano)
	for query, want := range map[string]int{
		"readStatus=true":                  12,
		"readStatus=false":                 28,
		"visible=false":                    0,
		"registeredMail=true":              4,
		"receivedAfter=" + middle:          9,
		"receivedBefore=" + middle:         30,
		"q=Message+7&qlang=fr":             1,
		"q=Message+7&qlang=nl":             0,
		"messageTypeId=invoice":            0,
		"senderApplicationId=dmfa":         40,
		"receivedAfter=2999-01-01":         0,
		"expiredAfter=2999-01-01":          0,
		"something=else&readStatus=true":   12,
		"senderOrganizationId=0406798006":  40,
		"senderOrganizationId=0206731645&": 0,
	} {
		if got := list(query); got.count() != want || len(got.Items) != want {
			t.Errorf("%s: %d messages, want %d", query, got.Total, want)
		}
	}
	for _, query := range []string{"readStatus=yes", "receivedBefore=yesterday", "q=x", "q=x&qlang=en", "page=0",
		"pageSize=0", "pageSize=101", "pageSize=x"} {
		is(t, get("GET", l.ProviderURL("nsso")+"/ebox/messages?"+query, ""), 400, "", query)
	}
}

func TestOpeningTheMainContentMarksItRead(t *testing.T) {
	l := newLab(t)
	get := l.consumer()
	base := l.ProviderURL("nsso") + "/ebox/messages/"
	read := func(id string) bool { return decode[message](t, get("GET", base+id, "")).Read }
	unread := func() int {
		return decode[struct {
			N int `json:"numberOfUnreadMessages"`
		}](t, get("GET", l.ProviderURL("nsso")+"/ebox", "")).N
	}
	before := unread()
	get("GET", base+FirstMessage+"/attachments", "")
	get("GET", base+FirstMessage+"/attachments/1", "")
	get("GET", base+FirstMessage+"/attachments/2/content", "")
	if read(FirstMessage) {
		t.Fatal("metadata or an annex marked it read")
	}
	if r := get("GET", base+FirstMessage+"/attachments/1/content", ""); r.status != 200 ||
		!bytes.HasPrefix(r.body, []byte("%PDF-")) {
		t.Fatalf("%d %.20q", r.status, r.body)
	}
	if !read(FirstMessage) {
		t.Error("its main content was fetched and it is unread")
	}
	if r := get("HEAD", base+LargeMessage+"/attachments/1/content", ""); r.status != 200 || len(r.body) > 0 ||
		!read(LargeMessage) {
		t.Errorf("HEAD: %d, read %t", r.status, read(LargeMessage))
	}
	if r := get("GET", base+BodyMessage+"/body", ""); r.status != 200 || !strings.Contains(decode[translated](t, r)["nl"],
		mandated.String()) || !read(BodyMessage) {
		t.Errorf("body: %d %s, read %t", r.status, r.body, read(BodyMessage))
	}
	if got := unread(); got != before-3 {
		t.Errorf("%d unread, %d before", got, before)
	}
	if r := l.as(l.token(ScopeDocumentConsumer), alsoMandated)("GET", base+FirstMessage,
		""); decode[message](t, r).Read {
		t.Error("the message of another enterprise is read too")
	}
}

func TestContentHasRangesDigestAndTag(t *testing.T) {
	l := newLab(t)
	get := l.consumer()
	base := l.ProviderURL("nsso") + "/ebox/messages/" + LargeMessage + "/attachments"
	page := decode[attachmentPage](t, get("GET", base, ""))
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
	for _, path := range []string{"/messageTypes", "/messageTypes/invoice", "/senderOrganizations/0406798006",
		"/senderApplications/dmfa"} {
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
	visible := func(id string) bool { return decode[message](t, send("GET", target+"/"+id, "")).Visible }
	patch := func(body, mediaType string) int { return send("PATCH", target, body, "Content-Type", mediaType).status }
	const merge = "application/merge-patch+json"
	hide := `{"items":[{"messageId":"` + FirstMessage + `","visible":false},{"messageId":"`
	for _, c := range []struct {
		name, body, mediaType string
		want                  int
		hidden                bool
	}{
		{"another media type", hide + LargeMessage + `","visible":false}]}`, "application/json", 415, false},
		{"one message unknown", hide + `1","visible":false}]}`, merge, 404, false},
		{"nothing to change", hide + LargeMessage + `"}]}`, merge, 400, false},
		{"no items", `{}`, merge, 400, false},
		{"no JSON", `{`, merge, 400, false},
		{"two messages", hide + LargeMessage + `","visible":false}]}`, merge, 200, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := patch(c.body, c.mediaType); got != c.want || visible(FirstMessage) == c.hidden {
				t.Fatalf("%d, want %d; hidden %t", got, c.want, !visible(FirstMessage))
			}
		})
	}
	if page := decode[messagePage](t, send("GET", target+"?visible=false", "")); page.count() != 2 {
		t.Errorf("%d hidden messages", page.count())
	}
	for partition, want := range map[string]int{"ABC": 400, "HR": 200} {
		if got := patch(`{"items":[{"messageId":"`+FirstMessage+`","partition":"`+partition+`"}]}`, merge); got != want {
			t.Errorf("moving to the partition %s: %d", partition, got)
		}
	}
	if m := decode[message](t, send("GET", target+"/"+FirstMessage, "")); m.Partition != "HR" || m.Visible {
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
	if r := get("GET", target, "", "Accept-Encoding", "gzip;q=0"); r.header.Get("Content-Encoding") != "" {
		t.Error("gzip was refused and came")
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
	if r := get("GET", newest.Documents.Items[0].Content, ""); len(r.body) != 3<<20 {
		t.Errorf("%d bytes", len(r.body))
	}
	if r := get("GET", newest.Documents.Items[1].Content, ""); r.status != 200 || len(r.body) != 0 {
		t.Errorf("empty document: %d, %d bytes", r.status, len(r.body))
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
	if rules := decode[itemPage[routingRule]](t, l.as(token, 0)("GET", base+"/routingRules", "")).Items; len(rules) != 2 ||
		rules[1].Target != "GENERAL" {
		t.Errorf("%+v", rules)
	}
	get := l.as(token, mandated)
	page := decode[itemPage[partition]](t, get("GET", base, ""))
	if page.Total != 2 || page.Items[1].Enterprise != mandated {
		t.Fatalf("%+v", page)
	}
	if r := get("GET", page.Items[1].Links["self"].Href, ""); decode[partition](t, r).ID != "HR" {
		t.Errorf("%d %s", r.status, r.body)
	}
	for _, c := range []struct {
		name, path string
		represent  enterprise.Number
		want       int
		says       string
	}{
		{"a mandate", base + "/hasMandate?operation=publish", mandated, 200, "true"},
		{"none", l.PartitionURL() + "/ebox/0800002352/hasMandate?operation=publish", 0, 200, "false"},
		{"that of another office", base + "/hasMandate?operation=publish&mandataryEnterpriseNumber=0474028805", 0,
			200, "true"},
		{"no operation", base + "/hasMandate", 0, 400, "operation"},
		{"a number with dots", l.PartitionURL() + "/ebox/0206.731.645/routingRules", 0, 400, "ten digits"},
		{"header and path disagree", base + "/routingRules", alsoMandated, 400, "different"},
		{"no mandate", l.PartitionURL() + "/ebox/0800002352/routingRules", 0, 403, "no mandate"},
		{"an unknown partition", base + "/ABC", mandated, 404, ""},
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
	if r := patch(mandated.String()); r.status != 200 || !decode[preferencesView](t, r).Exclusively {
		t.Errorf("%d %s", r.status, r.body)
	}
	search :=
		`{"eboxType":"ENTERPRISE","eboxIdType":"EnterpriseNumber","eboxIdValueList":["0206731645","0800002352","0212148896"]}`
	found := decode[[]preferencesView](t, send("POST", target+"/search", search, "Content-Type", "application/json"))
	if len(found) != 2 || !found[0].Exclusively || found[1].Exclusively || found[0].Total != 52 {
		t.Errorf("the one that is unknown is to be missing: %+v", found)
	}
	is(t, send("GET", target, ""), 405, "", "GET, which the API does not have")
	consents := send("POST", l.FederationURL()+"/citizenEboxConsents/search",
		`{"eboxType":"CITIZEN","eboxIdValueList":["79072300048"]}`, "Content-Type", "application/json")
	is(t, consents, 200, `"hasConsent":true`, "consents")
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
		if p := decode[Provider](t, get("GET", base+"regional", "")); p.APIVersion != "2.1" {
			t.Errorf("%+v", p)
		}
		is(t, get("GET", base+"none", ""), 404, "", "unknown provider")
	}
}

func TestTheListOfProvidersCanChange(t *testing.T) {
	l := newLab(t)
	get := func(id, scope string) reply {
		return l.as(l.token(scope), mandated)("GET", l.ProviderURL(id)+"/ebox", "")
	}
	if r := get("utilities", ScopeSummaryOwnEbox); r.status != 503 || r.header.Get("Retry-After") == "" {
		t.Errorf("utilities, in maintenance: %d %v", r.status, r.header)
	}
	is(t, get("upcoming", ScopeDocumentConsumer), 404, "", "upcoming")
	is(t, get("retired", ScopeSummaryOwnEbox), 410, "", "retired")
	p := l.Providers()[0]
	p.Maintenance = []Window{{l.now.Now().Add(-time.Minute), l.now.Now().Add(time.Hour)}}
	if err := l.SetProvider(p); err != nil {
		t.Fatal(err)
	}
	is(t, get("nsso", ScopeDocumentConsumer), 503, "", "in maintenance")
	l.now.advance(2 * time.Hour)
	if err := l.SetProvider(Provider{ID: "new", APIVersion: "3.0", Activation: "2020-01-01"}); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"nsso", "new"} {
		is(t, get(id, ScopeDocumentConsumer), 200, "", id)
	}
	l.removeProvider("new")
	if l.ProviderURL("new") != "" || len(l.Providers()) != 5 {
		t.Errorf("%d providers", len(l.Providers()))
	}
	for _, bad := range []Provider{{}, {ID: "a/b"}, {ID: `a"b`}} {
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
		"unknown message":    "/ebox/messages/1",
		"unknown path":       "/nothing",
		"a date with a time": "/ebox/messages?receivedAfter=2026-01-01T00:00:00Z",
		"no payment data":    "/ebox/messages/" + FirstMessage + "/paymentData",
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

func TestVersion3HasFurtherOperations(t *testing.T) {
	l := newLab(t)
	send := l.consumer()
	first := l.ProviderURL("nsso") + "/ebox/messages/" + FirstMessage
	read := func() bool { return decode[message](t, send("GET", first, "")).Read }
	is(t, send("GET", first+"/structuredData", ""), 200, mandated.String(), "structured data")
	if !read() {
		t.Error("structured data did not open the message")
	}
	act := func(action string) int {
		return send("POST", first+"/actions", `{"action":"`+action+`"}`, "Content-Type", "application/json").status
	}
	if act("markAsUnread") != 204 || read() || act("markAsRead") != 204 || !read() || act("burn") != 400 {
		t.Errorf("actions; read %t", read())
	}
	is(t, send("GET", l.ProviderURL("nsso")+"/statistics", ""), 200, `"numberOfMessages":40`, "statistics")
}
