package ebox

import "testing"

func TestReadsByPost(t *testing.T) {
	for _, c := range []struct {
		path        string
		ebox, plain Action
	}{
		{"/eboxPreferences/search", List, List},
		{"/eboxPreferences/search/", List, List},
		{"/citizenEboxConsents/search", List, List},
		{"/ebox/messages/search", List, List},
		{"/ebox/messages/query", List, List},
		{"/ebox/messages/get", List, List},
		{"/ebox/0206731645/routingRules/search", List, Change},
		{"/ebox/0206731645/hasMandate/query", List, Change},
		{"/referenceData/messageTypes/search", List, List},
		{"/messageRegistries/query", List, List},
		{"/persons/search", Change, List},
		{"/v1/persons/search", Change, List},
		{"/search", Change, List},
		{"/some-thing/get", Change, List},

		{"/ebox/messages/update", Change, Change},
		{"/ebox/messages/delete", Change, Change},
		{"/ebox/messages/17/update", Change, Change},
		{"/ebox/messages/17/actions", Change, Change},
		{"/ebox/messages/17/actions/search", Change, Change},
		{"/persons/update", Change, Change},
		{"/persons/delete", Change, Change},

		{"/publishMessage/search", Publish, Change},
		{"/linkEboxMessage/get", Publish, Change},
		{"/searchMessageStatus/search", Publish, Change},
		{"/publishMessage/update", Publish, Change},
		{"/ebox/messages/17/replies/search", Reply, Change},
		{"/ebox/messages/abc/replies/search", Reply, Change},
		{"/ebox/messages/17/search", Reply, Change},
		{"/ebox/messages/routingRules/search", Reply, List},
		{"/employers/17/workers/search", Change, Change},
		{"/replies/search", Change, Change},

		// Written otherwise, a path may be another one to some server.
		{"/eboxPreferences/Search", Change, Change},
		{"/eboxpreferences/search", Change, List},
		{"/eboxPreferences//search", Change, Change},
		{"//eboxPreferences/search", Change, Change},
		{"/eboxPreferences/search//", Change, Change},
		{"/eboxPreferences/%73earch", Change, Change},
		{"/eboxPreferences/search%3Fx", Change, Change},
		{"/eboxPreferences/search;x", Change, Change},
		{"/eboxPreferences;x/search", Change, Change},
		{"/eboxPreferences/search.json", Change, Change},
		{"/ebox/messages/search;x", Reply, Change},
		{"/publishMessage;/search", Publish, Change},
		{"/%70ublishMessage/search", Publish, Change},

		// A document is opened by whatever method it is asked for.
		{"/ebox/messages/17/body/get", Open, Change},
		{"/ebox/messages/17/attachments/3/content/query", Open, Change},
		{"/ebox/messages/17/structuredData/search", Open, Change},
	} {
		if got := Classify("POST", ParsePath(c.path), nil); got != c.ebox {
			t.Errorf("POST %s: %q, want %q", c.path, got, c.ebox)
		}
		if got := ClassifyPlain("POST", ParsePath(c.path), nil); got != c.plain {
			t.Errorf("POST %s on a plain route: %q, want %q", c.path, got, c.plain)
		}
		for _, method := range []string{"PUT", "PATCH", "DELETE"} {
			if Classify(method, ParsePath(c.path), nil) != Change || ClassifyPlain(method, ParsePath(c.path), nil) != Change {
				t.Errorf("%s %s is no change", method, c.path)
			}
		}
	}
	if !KnownRead("/mandates/search") || KnownRead("/mandates/17/search") || KnownRead("/mandates") || KnownRead("") {
		t.Error("the reads of grant/citizen")
	}
}

func TestARouteNamesReadsOfItsOwn(t *testing.T) {
	reads := Reads{
		{Paths: []string{"/calculate", "/employers/*/workers/search", "/reports/**",
			"/ebox/messages/*/attachments/*/content"}},
		{Methods: []string{"REPORT", "POST"}, Paths: []string{"/calendar"}},
	}
	for _, c := range []struct {
		method, path string
		ebox, plain  Action
	}{
		{"POST", "/calculate", List, List},
		{"POST", "/calculate/", List, List},
		{"POST", "/calculate/more", Change, Change},
		{"POST", "/employers/17/workers/search", List, List},
		{"POST", "/employers//workers/search", Change, Change},
		{"POST", "/reports", List, List},
		{"POST", "/reports/1/2", List, List},
		{"POST", "/report", Change, Change},
		{"POST", "/Calculate", Change, Change},
		{"PUT", "/calculate", Change, Change},
		{"REPORT", "/calendar", List, List},
		{"POST", "/calendar", List, List},
		{"REPORT", "/calculate", Change, Change},
		{"POST", "/ebox/messages/17/attachments/3/content", Open, List},
		{"POST", "/ebox/messages/17/replies", Reply, Change},
	} {
		if got := Classify(c.method, ParsePath(c.path), reads); got != c.ebox {
			t.Errorf("%s %s: %q, want %q", c.method, c.path, got, c.ebox)
		}
		if got := ClassifyPlain(c.method, ParsePath(c.path), reads); got != c.plain {
			t.Errorf("%s %s on a plain route: %q, want %q", c.method, c.path, got, c.plain)
		}
	}
	// What publishes is no read, whatever a route says.
	if got := Classify("POST", ParsePath("/publishMessage"), Reads{{Paths: []string{"/**"}}}); got != Publish {
		t.Errorf("publishing: %q", got)
	}
}
