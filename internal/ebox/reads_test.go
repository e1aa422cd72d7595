package ebox

import (
	"strings"
	"testing"
)

// does is what a call is taken for on an e-Box route and on a plain one.
type does struct{ ebox, plain Action }

func (d does) check(t *testing.T, method, path string, reads Reads) {
	t.Helper()
	got := does{Classify(method, ParsePath(path), reads), ClassifyPlain(method, ParsePath(path), reads)}
	if got != d {
		t.Errorf("%s %s: %v, want %v", method, path, got, d)
	}
}

func TestReadsByPost(t *testing.T) {
	const replies = "/ebox/messages/17/replies"
	for want, paths := range map[does][]string{
		{List, List}: {
			"/eboxPreferences/search", "/eboxPreferences/search/", "/citizenEboxConsents/search", "/ebox/messages/search",
			"/ebox/messages/query", "/ebox/messages/get", "/referenceData/messageTypes/search", "/messageRegistries/query",
		},
		{List, Change}: {"/ebox/0206731645/routingRules/search", "/ebox/0206731645/hasMandate/query"},
		{Change, List}: {
			"/persons/search", "/v1/persons/search", "/search", "/some-thing/get", "/eboxpreferences/search",
		},
		{Change, Change}: {
			"/ebox/messages/update", "/ebox/messages/delete", "/ebox/messages/17/update", "/ebox/messages/17/actions",
			"/ebox/messages/17/actions/search", "/persons/update", "/persons/delete", "/employers/17/workers/search",
			"/replies/search",
			// Written otherwise, a path may be another one to some server.
			"/eboxPreferences/Search", "/eboxPreferences//search", "//eboxPreferences/search", "/eboxPreferences/search//",
			"/eboxPreferences/%73earch", "/eboxPreferences/search%3Fx", "/eboxPreferences/search;x",
			"/eboxPreferences;x/search", "/eboxPreferences/search.json",
		},
		{Publish, Change}: {
			"/publishMessage/search", "/linkEboxMessage/get", "/searchMessageStatus/search", "/publishMessage/update",
			"/publishMessage;/search", "/%70ublishMessage/search",
		},
		{Reply, Change}: {
			replies + "/search", "/ebox/messages/abc/replies/search", "/ebox/messages/17/search", "/ebox/messages/search;x",
		},
		{Reply, List}: {"/ebox/messages/routingRules/search"},
		// A document is opened by whatever method it is asked for.
		{Open, Change}: {
			"/ebox/messages/17/body/get", "/ebox/messages/17/attachments/3/content/query",
			"/ebox/messages/17/structuredData/search",
		},
	} {
		for _, path := range paths {
			want.check(t, "POST", path, nil)
			for _, method := range []string{"PUT", "PATCH", "DELETE"} {
				does{Change, Change}.check(t, method, path, nil)
			}
		}
	}
	if !knownRead("/mandates/search") || knownRead("/mandates/17/search") || knownRead("/mandates") || knownRead("") {
		t.Error("the reads of grant/citizen")
	}
}

func TestARouteNamesReadsOfItsOwn(t *testing.T) {
	reads := Reads{
		{Paths: []string{"/calculate", "/employers/*/workers/search", "/reports/**",
			"/ebox/messages/*/attachments/*/content"}},
		{Methods: []string{"REPORT", "POST"}, Paths: []string{"/calendar"}},
	}
	for want, calls := range map[does][]string{
		{List, List}: {"POST /calculate", "POST /calculate/", "POST /employers/17/workers/search", "POST /reports",
			"POST /reports/1/2", "REPORT /calendar", "POST /calendar"},
		{Change, Change}: {"POST /calculate/more", "POST /employers//workers/search", "POST /report", "POST /Calculate",
			"PUT /calculate", "REPORT /calculate"},
		{Open, List}:    {"POST /ebox/messages/17/attachments/3/content"},
		{Reply, Change}: {"POST /ebox/messages/17/replies"},
	} {
		for _, line := range calls {
			method, path, _ := strings.Cut(line, " ")
			want.check(t, method, path, reads)
		}
	}
	// What publishes is no read, whatever a route says.
	if got := Classify("POST", ParsePath("/publishMessage"), Reads{{Paths: []string{"/**"}}}); got != Publish {
		t.Errorf("publishing: %q", got)
	}
}
