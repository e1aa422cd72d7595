package simulator

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestARequestIsRecordedAsItCame(t *testing.T) {
	l := newLab(t)
	token := l.token(ScopeDocumentConsumer)
	l.ResetRequests()
	send := l.as(token, mandated)
	body := `{"items":[{"messageId":"` + FirstMessage + `","visible":true}]}`
	send("PATCH", l.ProviderURL("nsso")+"/ebox/messages?a=%2F;b", body, "Content-Type", "application/merge-patch+json",
		"Cookie", "a=b")
	got := l.RequestsTo(ProviderUpstream("nsso"))
	if len(got) != 1 {
		t.Fatalf("%d requests", len(got))
	}
	eventually(t, "the exchange is over", func() bool { return l.Requests()[0].Done })
	r := l.Requests()[0]
	sum, tokenSum := sha256.Sum256([]byte(body)), sha256.Sum256([]byte(token))
	switch {
	case r.Method != "PATCH" || r.Target != nssoPath+"/ebox/messages?a=%2F;b" || r.Path != "/ebox/messages" ||
		r.Status != 200:
		t.Errorf("%+v", r)
	case r.BodyBytes != int64(len(body)) || r.BodySHA256 != hex.EncodeToString(sum[:]):
		t.Errorf("body %d %s", r.BodyBytes, r.BodySHA256)
	case r.Client != clientID || !slices.Equal(r.Scopes, []string{ScopeDocumentConsumer}) ||
		r.TokenSHA256 != hex.EncodeToString(tokenSum[:]):
		t.Errorf("token of %s, %v", r.Client, r.Scopes)
	case r.Enterprise != mandated.String() || r.Opening || r.Header.Get("Cookie") != "a=b":
		t.Errorf("%+v", r)
	}
}

func TestABodyThatWasRefusedIsRecordedToo(t *testing.T) {
	l := newLab(t)
	l.send("PATCH", l.ProviderURL("nsso")+"/ebox/messages", "some body", "Authorization", "Bearer revoked")
	eventually(t, "the exchange is over", func() bool { return l.Requests()[0].Done })
	if r := l.Requests()[0]; r.Status != 401 || r.BodyBytes != 9 {
		t.Errorf("%d, %d bytes", r.Status, r.BodyBytes)
	}
}

// Found by a gateway that passes Expect on: the server read a refused body all the
// same, and asked for it first.
func TestARefusalBeforeTheBodySendsNo100(t *testing.T) {
	l := newLab(t)
	conn, err := net.Dial("tcp", l.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	_, err = io.WriteString(conn, "PATCH "+nssoPath+"/ebox/messages HTTP/1.1\r\nHost: x\r\n"+
		"Expect: 100-continue\r\nContent-Length: 20\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("status %d, want the 401 of a request without a token at once", resp.StatusCode)
	}
}

func TestOpeningsAreToldApart(t *testing.T) {
	for path, want := range map[string]bool{
		"/ebox/messages/" + FirstMessage + "/attachments/1/content": true,
		"/ebox/messages/" + BodyMessage + "/body":                   true,
		"/ebox/messages/" + BodyMessage + "/structuredData":         true,
		"/ebox/messages/" + FirstMessage + "/attachments/1":         false,
		"/ebox/messages/" + FirstMessage:                            false,
		"/referenceData/senderApplications/dmfa/images/x/content":   false,
	} {
		if opensDocument(path) != want {
			t.Errorf("%s opens a document: %t", path, !want)
		}
	}
}

func TestUnknownPathsAndMethods(t *testing.T) {
	l := newLab(t)
	send := l.consumer()
	nsso := l.ProviderURL("nsso")
	for _, c := range []struct {
		method, url string
		want        int
		allow       string
	}{
		{"GET", l.main.base + nssoPath + "x/ebox", 404, ""},
		{"GET", nsso + "/ebox/", 404, ""},
		{"GET", nsso + "//ebox", 404, ""},
		{"GET", nsso + "/EBOX", 404, ""},
		{"GET", nsso + "/ebox/messages/1%2Fbody", 404, ""},
		{"GET", nsso + "/publishMessage", 404, ""},
		{"GET", l.regional.base + nssoPath + "/ebox", 404, ""},
		{"DELETE", nsso + "/ebox/messages", 405, "GET, HEAD, PATCH, POST"},
	} {
		if r := send(c.method, c.url, ""); r.status != c.want || r.header.Get("Allow") != c.allow {
			t.Errorf("%s %s: %d, Allow %q", c.method, c.url, r.status, r.header.Get("Allow"))
		}
	}
	unknown := l.RequestsTo("")
	if len(unknown) != 2 || !strings.HasPrefix(unknown[0].Target, nssoPath+"x") {
		t.Errorf("%d requests to no upstream", len(unknown))
	}
}

// A simulator that runs for weeks must not fill the memory.
func TestTheOldestIsForgotten(t *testing.T) {
	l := newLab(t)
	client := l.clients[clientID]
	c := &call{s: l.Simulator, api: l.main.mounts[grantPath], r: &http.Request{Method: "GET"}}
	for range 2*keptRequests + 1 {
		l.record.begin(c)
	}
	list := l.Requests()
	if n := len(l.record.list); n > 2*keptRequests || len(list) != keptRequests ||
		list[keptRequests-1].Seq != 2*keptRequests+1 || l.RequestCount(UpstreamGrant) != 2*keptRequests+1 {
		t.Errorf("%d requests are held, %d shown of %d", n, len(list), l.RequestCount(UpstreamGrant))
	}
	for range mostKept {
		l.issue(client, nil)
	}
	l.advance(time.Hour)
	l.issue(client, nil)
	if n := len(l.tokens); n != 1 {
		t.Errorf("%d tokens are held, of which one is valid", n)
	}
	for range mostKept + 1 {
		if _, err := l.AddMessage("nsso", mandated, Draft{Subject: "One of many"}); err != nil {
			t.Fatal(err)
		}
	}
	get := l.consumer()
	page := decode[messagePage](t, get("GET", l.ProviderURL("nsso")+"/ebox/messages?pageSize=1", ""))
	if page.count() != mostKept {
		t.Errorf("%d messages", page.count())
	}
	is(t, get("GET", l.ProviderURL("nsso")+"/ebox/messages/"+FirstMessage, ""), 404, "", "the first of all")
	registry := l.registries["nsso"]
	for i := range mostKept {
		registry.keys[strconv.Itoa(i)] = true
		l.citizen.list = append(l.citizen.list, &citizenMandate{})
	}
	body := multipartBody(describe("", ""), sheet{"upfile1", "a.txt", "text/plain", "x"})
	post := l.as(l.token(ScopePublicationSender), 0)
	is(t, post("POST", l.ProviderURL("nsso")+"/ebox/messages", body, "Content-Type", mixed,
		"Idempotency-Key", `"new"`), 201, "", "a publication")
	createdID(t, l.citizens()("POST", l.GrantURL()+"/mandates", `{"mandatorSsin":"00000000000","scopes":`+flexiJob+`}`,
		"Content-Type", jsonType))
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(registry.keys) != 1 || len(l.citizen.list) != mostKept {
		t.Errorf("%d keys of publications, %d citizens' mandates", len(registry.keys), len(l.citizen.list))
	}
}
