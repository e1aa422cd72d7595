package simulator_test

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/simulator"
	"ebox-gateway/internal/testkit"
)

// sheet is one file of a publication.
type sheet struct{ part, fileName, mediaType, content string }

// describe is a publication with one attachment, and what else attachment and message have.
func describe(attachment, message string) string {
	return `{"recipient":{"eboxType":"enterprise","enterpriseNumber":"0206731645"},"subject":{"nl":"Nieuw"},` +
		`"isReplyAuthorized":true,"attachments":[{"httpPartName":"upfile1","isMainContent":true` + attachment + `}]` +
		message + `}`
}

// inVersion2 writes a description in the names before version 3.
func inVersion2(description string) string {
	return strings.NewReplacer("enterpriseNumber", "eboxIdValue", "isReplyAuthorized", "replyAuthorized",
		`"isMainContent"`, `"mainContent"`, `"subject"`, `"bodyMainContent":false,"subject"`).Replace(description)
}

const mixed = "multipart/form-data; boundary=x"

func multipartBody(description string, files ...sheet) string {
	b := ""
	if description != "" {
		b = "--x\r\nContent-Disposition: form-data; name=messageToPublish\r\n\r\n" + description + "\r\n"
	}
	for _, f := range files {
		b += fmt.Sprintf("--x\r\nContent-Disposition: form-data; name=%q; filename=%q\r\nContent-Type: %s\r\n\r\n%s\r\n",
			f.part, f.fileName, f.mediaType, f.content)
	}
	return b + "--x--\r\n"
}

// publish sends a publication.
func (send sending) publish(url, description string, files ...sheet) reply {
	return send("POST", url, multipartBody(description, files...), "Content-Type", mixed)
}

// note is a small file.
var note = sheet{"upfile1", "a.txt", "text/plain", "x"}

func TestAPublicationArrivesWithTheRecipient(t *testing.T) {
	l := newLab(t)
	text := "attestation of employment"
	sum := sha256.Sum256([]byte(text))
	d := `,"digest":{"digestMethod":"sha_256","digestValue":"` + base64.URLEncoding.EncodeToString(sum[:]) + `"}`
	description := describe(d, "")
	for _, c := range []struct{ provider, path, read, description, idName string }{
		{"nsso", "/ebox/messages/", simulator.ScopeDocumentConsumer, description, "enterpriseNumber"},
		{"regional", "/publishMessage", simulator.ScopeMessagesFull, inVersion2(description), "eboxIdValue"},
	} {
		t.Run(c.provider+c.path, func(t *testing.T) {
			base := l.ProviderURL(c.provider)
			send := l.as(l.token(simulator.ScopePublicationSender), 0)
			r := send.publish(base+c.path, c.description, sheet{"upfile1", "attest.txt", "text/plain", text})
			if r.status != 201 {
				t.Fatalf("%d %s", r.status, r.body)
			}
			target, err := url.Parse(base)
			testkit.Must(t, err)
			target, err = target.Parse(r.header.Get("Location")) // which may be a path alone
			testkit.Must(t, err)
			get := l.as(l.token(c.read), mandated)
			m := decode[message](t, get("GET", target.String(), ""))
			if m.ID != decode[message](t, r).ID || m.Subject["nl"] != "Nieuw" || m.Sender.Number+m.OrgID != office.String() ||
				m.Read || m.Documents.count() != 1 {
				t.Fatalf("%+v", m)
			}
			got := get("GET", m.Documents.Items[0].Content, "")
			if string(got.body) != text || got.header.Get("Content-Type") != "text/plain" {
				t.Errorf("content %q", got.body)
			}
			to := func(number string) string { return `{"eboxType":"enterprise","` + c.idName + `":"` + number + `"}` }
			status := `[{"messageId":"` + m.ID + `","eboxId":` + to("0206731645") + `}]`
			r = send("POST", base+"/searchMessageStatus", status)
			is(t, r, 201, `"readStatus":true`, "status")
			link := `{"messageId":"` + m.ID + `","recipients":[` + to("0212148896") + `,` + to("12") + `]}`
			r = send("POST", base+"/linkEboxMessage", link)
			is(t, r, 201, `"nbSuccessLinks":1`, "link")
			linked := l.as(l.token(c.read), alsoMandated)("GET", base+"/ebox/messages/"+m.ID, "")
			if decode[message](t, linked).Read {
				t.Errorf("the linked message has the read mark of the other: %s", linked.body)
			}
			other := l.as(l.token(simulator.ScopeRepresentativePublication), alsoMandated)
			is(t, other("POST", base+"/linkEboxMessage", link), 404, "", "linking what another sent")
		})
	}
}

func TestPublishingForAnotherNeedsItsOwnScope(t *testing.T) {
	l := newLab(t)
	const own, another = simulator.ScopePublicationSender, simulator.ScopeRepresentativePublication
	for _, c := range []struct {
		name, scope string
		represent   enterprise.Number
		want        int
		required    string
	}{
		{"for oneself", own, 0, 201, ""},
		{"for oneself, named", own, office, 201, ""},
		{"for another", another, alsoMandated, 201, ""},
		{"for another, in the other spelling", simulator.ScopeRepresentativeElsewhere, alsoMandated, 201, ""},
		{"for another with the scope for oneself", own, alsoMandated, 403, another},
		{"for oneself with the scope for another", another, 0, 403, own},
		{"with the reader's", simulator.ScopeDocumentConsumer, alsoMandated, 403, another},
	} {
		send := l.as(l.token(c.scope), c.represent)
		r := send.publish(l.ProviderURL("nsso")+"/ebox/messages", describe("", ""), note)
		is(t, r, c.want, c.required, c.name)
		if !strings.Contains(r.header.Get("WWW-Authenticate"), c.required) {
			t.Errorf("%s: %v", c.name, r.header)
		}
	}
}

func TestAnIdempotencyKeyIsTakenOnce(t *testing.T) {
	l := newLab(t)
	send, target := l.as(l.token(simulator.ScopePublicationSender), 0), l.ProviderURL("nsso")+"/ebox/messages"
	publish := func(text, key string) int {
		body := multipartBody(describe("", ""), sheet{"upfile1", "a.txt", "text/plain", text})
		if text == "" {
			body = multipartBody("{}")
		}
		return send("POST", target, body, "Content-Type", mixed, "Idempotency-Key", key).status
	}
	for i, c := range []struct {
		text, key string
		want      int
	}{
		{"", `"one"`, 400}, {"x", `"one"`, 201}, {"another content", `"one"`, 409}, {"x", `"two"`, 201}, {"x", "bare", 400},
	} {
		if got := publish(c.text, c.key); got != c.want {
			t.Errorf("%d. %s: %d, want %d", i, c.key, got, c.want)
		}
	}
	l.advance(24 * time.Hour)
	send = l.as(l.token(simulator.ScopePublicationSender), 0)
	if got := publish("x", `"one"`); got != 201 {
		t.Errorf("a day later: %d", got)
	}
}

func TestAPublicationIsRefusedFor(t *testing.T) {
	l := newLab(t)
	good := describe("", "")
	seven := make([]sheet, 7)
	for i := range seven {
		seven[i] = sheet{fmt.Sprintf("upfile%d", i+1), "a.txt", "text/plain", "x"}
	}
	digest := func(method string) string {
		return describe(`,"digest":{"digestMethod":"`+method+`","digestValue":"AAAA"}`, "")
	}
	stranger := `,"sender":{"eboxType":"enterprise","enterpriseNumber":"0212148896"}`
	post, target := l.as(l.token(simulator.ScopePublicationSender), 0), l.ProviderURL("nsso")+"/ebox/messages"
	for _, c := range []struct {
		name, description string
		files             []sheet
		says              string
	}{
		{"no description", "", []sheet{note}, "is missing"},
		{"a description that is no JSON", "{", []sheet{note}, "not the JSON"},
		{"seven files", good, seven, "at most six"},
		{"a file that is not described",
			good, []sheet{note, {"upfile2", "b.txt", "text/plain", "y"}}, "no attachment names"},
		{"a described file that is not there", good, nil, "no such part"},
		{"a file twice", good, []sheet{note, note}, "a name of its own"},
		{"a file described twice",
			strings.Replace(good, `"attachments":[`, `"attachments":[{"httpPartName":"upfile1"},`, 1), []sheet{note},
			"another attachment names it"},
		{"a file without a name", good, []sheet{{"upfile1", "", "text/plain", "x"}}, "file name"},
		{"a format that e-Box does not take",
			good, []sheet{{"upfile1", "a.exe", "application/octet-stream", "x"}}, "content type"},
		{"a digest that does not match", digest("sha_256"), []sheet{note}, "does not match"},
		{"another digest method", digest("md5"), []sheet{note}, "does not match"},
		{"no main content",
			strings.Replace(good, `"isMainContent":true`, `"isMainContent":false`, 1), []sheet{note}, "main content"},
		{"no subject", strings.Replace(good, `"subject"`, `"object"`, 1), []sheet{note}, "/subject"},
		{"the names of version 2", inVersion2(good), []sheet{note}, "/isReplyAuthorized"},
		{"the sender in the name of version 2",
			describe("", `,"senderOrganizationId":"0406798006"`), []sheet{note}, "/senderOrganizationId"},
		{"a sender that is not the client", describe("", stranger), []sheet{note}, "/sender"},
		{"a recipient with dots", strings.Replace(good, "0206731645", "0206.731.645", 1), []sheet{note}, "/recipient"},
	} {
		is(t, post.publish(target, c.description, c.files...), 400, c.says, c.name)
	}
	body := multipartBody(good, note)
	is(t, post("POST", target, body[:len(body)-20], "Content-Type", mixed), 400, "", "a body that breaks off")
	is(t, post("POST", target, "{}"), 415, "", "JSON")
}

func TestAReaderMayReplyAndNoMore(t *testing.T) {
	l := newLab(t)
	post := l.consumer()
	base := l.ProviderURL("nsso") + "/ebox/messages"
	is(t, post.publish(base, describe("", ""), note), 403, "missingScope", "publishing with the reader's scope")
	for what, c := range map[string]struct {
		path, message string
		want          int
	}{
		"a reply by originalMessageId":       {"", `,"originalMessageId":"` + simulator.FirstMessage + `"`, 201},
		"a reply by path":                    {"/" + simulator.FirstMessage + "/replies", "", 201},
		"a reply where none is allowed":      {"/" + simulator.LargeMessage + "/replies", "", 403},
		"a reply to nothing by path":         {"/1/replies", "", 404},
		"a reply to nothing":                 {"", `,"originalMessageId":"1"`, 404},
		"a reply that names another message": {"/" + simulator.FirstMessage + "/replies", `,"originalMessageId":"1"`, 400},
	} {
		is(t, post.publish(base+c.path, describe("", c.message), note), c.want, "", what)
	}
}
