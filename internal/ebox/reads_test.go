package ebox_test

import (
	"strings"
	"testing"

	"ebox-gateway/internal/ebox"
)

// does is what a call is taken for on an e-Box route and on a plain one.
type does struct{ ebox, plain ebox.Action }

func (d does) check(t *testing.T, method, path string, reads ebox.Reads) {
	t.Helper()
	parsed := ebox.ParsePath(path)
	got := does{ebox.Classify(method, parsed, reads), ebox.ClassifyPlain(method, parsed, reads)}
	if got != d {
		t.Errorf("%s %s: %v, want %v", method, path, got, d)
	}
}

func TestReadsByPost(t *testing.T) {
	const replies = "/ebox/messages/17/replies"
	for want, paths := range map[does][]string{
		{ebox.List, ebox.List}: {
			"/eboxPreferences/search", "/eboxPreferences/search/", "/citizenEboxConsents/search", "/ebox/messages/search",
			"/ebox/messages/query", "/ebox/messages/get", "/mandates/search", "/referenceData/messageTypes/search",
			"/messageRegistries/query",
		},
		{ebox.List, ebox.Change}: {"/ebox/0206731645/routingRules/search", "/ebox/0206731645/hasMandate/query"},
		{ebox.Change, ebox.List}: {
			"/persons/search", "/v1/persons/search", "/search", "/some-thing/get", "/eboxpreferences/search",
		},
		{ebox.Change, ebox.Change}: {
			"/ebox/messages/update", "/ebox/messages/delete", "/ebox/messages/17/update", "/ebox/messages/17/actions",
			"/ebox/messages/17/actions/search", "/mandates/17/search", "/persons/update", "/persons/delete",
			"/employers/17/workers/search",
			"/replies/search",
			// Written otherwise, a path may be another one to some server.
			"/eboxPreferences/Search", "/eboxPreferences//search", "//eboxPreferences/search", "/eboxPreferences/search//",
			"/eboxPreferences/%73earch", "/eboxPreferences/search%3Fx", "/eboxPreferences/search;x",
			"/eboxPreferences;x/search", "/eboxPreferences/search.json",
		},
		{ebox.Publish, ebox.Change}: {
			"/publishMessage/search", "/linkEboxMessage/get", "/searchMessageStatus/search", "/publishMessage/update",
			"/publishMessage;/search", "/%70ublishMessage/search",
		},
		{ebox.Reply, ebox.Change}: {
			replies + "/search", "/ebox/messages/abc/replies/search", "/ebox/messages/17/search", "/ebox/messages/search;x",
		},
		{ebox.Reply, ebox.List}: {"/ebox/messages/routingRules/search"},
		// A document is opened by whatever method it is asked for.
		{ebox.Open, ebox.Change}: {
			"/ebox/messages/17/body/get", "/ebox/messages/17/attachments/3/content/query",
			"/ebox/messages/17/structuredData/search",
		},
	} {
		for _, path := range paths {
			want.check(t, "POST", path, nil)
			for _, method := range []string{"PUT", "PATCH", "DELETE"} {
				does{ebox.Change, ebox.Change}.check(t, method, path, nil)
			}
		}
	}
}

func TestARouteNamesReadsOfItsOwn(t *testing.T) {
	reads := ebox.Reads{
		{Paths: []string{"/calculate", "/employers/*/workers/search", "/reports/**",
			"/ebox/messages/*/attachments/*/content"}},
		{Methods: []string{"REPORT", "POST"}, Paths: []string{"/calendar"}},
	}
	for want, calls := range map[does][]string{
		{ebox.List, ebox.List}: {"POST /calculate", "POST /calculate/", "POST /employers/17/workers/search", "POST /reports",
			"POST /reports/1/2", "REPORT /calendar", "POST /calendar"},
		{ebox.Change, ebox.Change}: {"POST /calculate/more", "POST /employers//workers/search", "POST /report",
			"POST /Calculate", "PUT /calculate", "REPORT /calculate"},
		{ebox.Open, ebox.List}:    {"POST /ebox/messages/17/attachments/3/content"},
		{ebox.Reply, ebox.Change}: {"POST /ebox/messages/17/replies"},
	} {
		for _, line := range calls {
			method, path, _ := strings.Cut(line, " ")
			want.check(t, method, path, reads)
		}
	}
	// What publishes is no read, whatever a route says.
	all := ebox.Reads{{Paths: []string{"/**"}}}
	if got := ebox.Classify("POST", ebox.ParsePath("/publishMessage"), all); got != ebox.Publish {
		t.Errorf("publishing: %q", got)
	}
}
