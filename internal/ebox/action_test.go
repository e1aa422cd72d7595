package ebox_test

import (
	"strings"
	"testing"

	"ebox-gateway/internal/ebox"
)

func TestClassify(t *testing.T) {
	const attachment, message = "/ebox/messages/17/attachments/3", "/ebox/messages/17"
	for want, calls := range map[ebox.Action][]string{
		ebox.List: {
			"GET /ebox", "GET /ebox/messages", "GET " + message, "GET " + message + "/attachments", "GET " + attachment,
			"GET " + message + "/paymentData", "GET " + message + "/bodyguard", "GET " + message + "/structuredDataModel",
			"GET /ebox/sentMessages", "GET /statistics", "GET /referenceData/senderApplications/1/images/2/content",
			"GET /referenceData/messageTypes", "POST /eboxPreferences/search",
		},
		ebox.Open: {
			"GET " + attachment + "/content", "HEAD " + attachment + "/content", "GET " + message + "/body",
			"GET " + message + "/structuredData", "GET " + message + "/StructuredData.xml",
			"GET /ebox/messages/referenceData/attachments/3/content",
			"GET /ebox/messages/17/attachments/referenceData/content",
			// What some server takes for one of them.
			"GET " + attachment + "//content//", "GET " + attachment + "/Content", "GET " + attachment + "/%63ontent",
			"GET " + attachment + "/content;v=1", "GET " + message + "/body.json", "GET " + message + "/body%2Ejson",
			"GET " + message + "/body%20", "GET " + message + "/body;a=b/", "GET " + message + "/body/;a=b",
			"GET " + message + "/body%3Fx", "GET " + attachment + "/content%23x", "GET " + attachment + "/content%3fx/y.z",
			"GET " + message + "/%C5%BFtructuredData", // a long s, which Java takes for an s
		},
		ebox.Change: {"PATCH /ebox/messages", "PUT " + message, "DELETE " + message, "PATCH /eboxPreferences", "POST /"},
		ebox.Publish: {
			"POST /publishMessage", "POST /linkEboxMessage", "POST /searchMessageStatus", "POST /ebox/messages",
			"POST /publi%C5%BFhMessage",
		},
		ebox.Reply: {"POST " + message + "/replies"},
	} {
		for _, line := range calls {
			method, path, _ := strings.Cut(line, " ")
			if got := ebox.Classify(method, ebox.ParsePath(path), nil); got != want {
				t.Errorf("%s: %q, want %q", line, got, want)
			}
		}
	}
	for path, want := range map[string]ebox.Action{
		"/health": ebox.None, "/health/": ebox.None,
		"/mandates": ebox.Mandates, "/health/x": ebox.Mandates, "": ebox.Mandates,
		"/health%3F/x": ebox.Mandates, "/health;x": ebox.Mandates, "/health.x": ebox.Mandates,
	} {
		if got := ebox.ClassifyMandates("GET", ebox.ParsePath(path)); got != want {
			t.Errorf("GET %s: %q, want %q", path, got, want)
		}
	}
	if got := ebox.ClassifyMandates("POST", ebox.ParsePath("/health")); got != ebox.Mandates {
		t.Errorf("POST /health: %q", got)
	}
	for path, want := range map[string]bool{
		attachment + "/content": true, "/referenceData/senderApplications/1/images/2/Content/": true,
		message + "/body": false, "/ebox/messages": false,
	} {
		if got := ebox.IsDocument(ebox.ParsePath(path)); got != want {
			t.Errorf("%s: %v", path, got)
		}
	}
}

func TestActionsAreSets(t *testing.T) {
	s := ebox.Actions(0).With(ebox.List).With(ebox.Open)
	if !s.Has(ebox.List) || !s.Has(ebox.Open) || s.Has(ebox.Change) || !s.Has(ebox.None) {
		t.Fatalf("%b", s)
	}
	for a := ebox.List; a <= ebox.Mandates; a++ {
		if got, ok := ebox.ParseAction(a.String()); !ok || got != a || !ebox.All.Has(a) {
			t.Errorf("%v does not survive its name", a)
		}
	}
	if _, ok := ebox.ParseAction(""); ok {
		t.Error("an empty word is an action")
	}
}
