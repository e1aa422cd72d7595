package simulator

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"ebox-gateway/internal/testkit"
)

// Found by a gateway that passes Expect on: the server read a refused body all the
// same, and asked for it first.
func TestARefusalBeforeTheBodySendsNo100(t *testing.T) {
	l := newLab(t)
	conn, err := net.Dial("tcp", l.Address())
	testkit.Must(t, err)
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	_, err = io.WriteString(conn, "PATCH "+nssoPath+"/ebox/messages HTTP/1.1\r\nHost: x\r\n"+
		"Expect: 100-continue\r\nContent-Length: 20\r\n\r\n")
	testkit.Must(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	testkit.Must(t, err)
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("status %d, want the 401 of a request without a token at once", resp.StatusCode)
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
	c := &call{s: l.Simulator, api: l.main.mounts[grantPath], r: &http.Request{Method: "GET"}}
	for range 2*keptRequests + 1 {
		l.record.begin(c)
	}
	list := l.Requests()
	if n := len(l.record.list); n > 2*keptRequests || len(list) != keptRequests ||
		list[keptRequests-1].Seq != 2*keptRequests+1 || l.RequestCount(UpstreamGrant) != 2*keptRequests+1 {
		t.Errorf("%d requests are held, %d shown of %d", n, len(list), l.RequestCount(UpstreamGrant))
	}
	registry := l.registries["nsso"]
	box := registry.box(mandated)
	for i := range mostKept {
		l.issue(l.clients[clientID], nil)
		box.put(&message{})
		registry.keys[strconv.Itoa(i)] = true
		l.citizen.list = append(l.citizen.list, &citizenMandate{})
	}
	l.advance(time.Hour)
	body := multipartBody(describe("", ""), sheet{"upfile1", "a.txt", "text/plain", "x"})
	post := l.as(l.token(ScopePublicationSender), 0)
	is(t, post("POST", l.ProviderURL("nsso")+"/ebox/messages", body, "Content-Type", mixed,
		"Idempotency-Key", `"new"`), 201, "", "a publication")
	createdID(t, l.citizens()("POST", l.GrantURL()+"/mandates", `{"mandatorSsin":"00000000000","scopes":`+flexiJob+`}`,
		"Content-Type", jsonType))
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.tokens) != 2 || len(box.messages) != mostKept || box.lookup(FirstMessage) != nil || len(registry.keys) != 1 ||
		len(l.citizen.list) != mostKept {
		t.Errorf("%d tokens, of which two are valid, %d messages, %d keys of publications, %d citizens' mandates",
			len(l.tokens), len(box.messages), len(registry.keys), len(l.citizen.list))
	}
}
