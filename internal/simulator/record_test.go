package simulator_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"ebox-gateway/internal/simulator"
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
	second, _, _ := strings.Cut(l.ProviderURL("regional"), "/ebox")
	for _, c := range []struct {
		method, url string
		want        int
		allow       string
	}{
		{"GET", nsso + "x/ebox", 404, ""},
		{"GET", nsso + "/ebox/", 404, ""},
		{"GET", nsso + "//ebox", 404, ""},
		{"GET", nsso + "/EBOX", 404, ""},
		{"GET", nsso + "/ebox/messages/1%2Fbody", 404, ""},
		{"GET", nsso + "/publishMessage", 404, ""},
		{"GET", second + nssoPath + "/ebox", 404, ""},
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
	const most = 10_000
	const order = `{"mandatorSsin":"00000000000","scopes":` + flexiJob + `}`
	token, mandates := l.token(simulator.ScopeCitizenMandates), l.GrantURL()+"/mandates"
	send := l.as(token, 0)
	first, second := createdID(t, send("POST", mandates, order)), createdID(t, send("POST", mandates, order))
	// The others are sent on one connection, none of which waits for an answer.
	conn, err := net.Dial("tcp", l.Address())
	testkit.Must(t, err)
	defer conn.Close()
	request := func(more string) string {
		return fmt.Sprintf("POST /REST/grant/citizen/v1/mandates HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n"+
			"Content-Length: %d\r\n%s\r\n%s", token, len(order), more, order)
	}
	sent := make(chan error, 1)
	go func() {
		_, err := io.WriteString(conn, strings.Repeat(request(""), most-2)+request("Connection: close\r\n"))
		sent <- err
	}()
	_, err = io.Copy(io.Discard, conn)
	testkit.Must(t, errors.Join(err, <-sent))
	if list := l.Requests(); len(list) != most || list[0].Seq != 3 || l.RequestCount(simulator.UpstreamGrant) != most+1 {
		t.Errorf("%d requests are shown, from number %d", len(list), list[0].Seq)
	}
	is(t, send("GET", mandates+"/"+first, ""), 404, "", "the oldest mandate of a citizen")
	is(t, send("GET", mandates+"/"+second, ""), 200, "", "the oldest but one")

	get, messages := l.consumer(), l.ProviderURL("nsso")+"/ebox/messages"
	for range most {
		_, err := l.AddMessage("nsso", mandated, simulator.Draft{})
		testkit.Must(t, err)
	}
	is(t, get("GET", messages+"/"+simulator.FirstMessage, ""), 404, "", "the newest message of the start")
	is(t, get("GET", messages, ""), 200, `"total":10000`, "the messages")

	l.advance(5*time.Minute + time.Hour - time.Second)
	l.token(simulator.ScopeRegistry)
	is(t, get("GET", messages, ""), 401, "expiredAccessToken", "a token that expired within the hour")
	l.advance(time.Second)
	l.token(simulator.ScopeRegistry)
	is(t, get("GET", messages, ""), 401, "invalidAccessToken", "a token that expired an hour ago")
}
