package ebox

import "testing"

func TestClassify(t *testing.T) {
	cases := []struct {
		method, path string
		want         Action
	}{
		{"GET", "/ebox", List},
		{"GET", "/ebox/messages", List},
		{"GET", "/ebox/messages/17", List},
		{"GET", "/ebox/messages/17/attachments", List},
		{"GET", "/ebox/messages/17/attachments/3", List},
		{"GET", "/ebox/messages/17/attachments/3/content", Open},
		{"HEAD", "/ebox/messages/17/attachments/3/content", Open},
		{"GET", "/ebox/messages/17/body", Open},
		{"GET", "/ebox/messages/17/paymentData", List},
		{"GET", "/ebox/messages/17/attachments/3/content/", Open},
		{"GET", "/ebox/messages/17/attachments/3//content//", Open},
		{"GET", "/ebox/messages/17/attachments/3/Content", Open},
		{"GET", "/ebox/messages/17/attachments/3/%63ontent", Open},
		{"GET", "/ebox/messages/17/attachments/3/content;v=1", Open},
		{"GET", "/ebox/messages/17/body.json", Open},
		{"GET", "/ebox/messages/17/body%2Ejson", Open},
		{"GET", "/ebox/messages/17/body%20", Open},
		{"GET", "/ebox/messages/17/body;a=b/", Open},
		{"GET", "/ebox/messages/17/body/;a=b", Open},
		{"GET", "/ebox/messages/17/bodyguard", List},
		{"GET", "/ebox/messages/17/structuredData", Open},
		{"GET", "/ebox/messages/17/StructuredData.xml", Open},
		{"GET", "/ebox/messages/17/%C5%BFtructuredData", Open}, // a long s, which Java takes for an s
		{"POST", "/publi%C5%BFhMessage", Publish},
		{"GET", "/ebox/messages/17/structuredDataModel", List},
		{"GET", "/ebox/sentMessages", List},
		{"GET", "/statistics", List},
		{"GET", "/ebox/messages/17/body%3Fx", Open},
		{"GET", "/ebox/messages/17/attachments/3/content%23x", Open},
		{"GET", "/ebox/messages/17/attachments/3/content%3fx/y.z", Open},
		{"GET", "/ebox/messages/referenceData/attachments/3/content", Open},
		{"GET", "/ebox/messages/17/attachments/referenceData/content", Open},
		{"GET", "/referenceData/senderApplications/1/images/2/content", List},
		{"GET", "/referenceData/messageTypes", List},
		{"PATCH", "/ebox/messages", Change},
		{"PUT", "/ebox/messages/17", Change},
		{"DELETE", "/ebox/messages/17", Change},
		{"POST", "/publishMessage", Publish},
		{"POST", "/linkEboxMessage", Publish},
		{"POST", "/searchMessageStatus", Publish},
		{"POST", "/ebox/messages", Publish},
		{"POST", "/ebox/messages/17/replies", Reply},
		{"POST", "/eboxPreferences/search", List},
		{"PATCH", "/eboxPreferences", Change},
		{"POST", "/", Change},
	}
	for _, c := range cases {
		if got := Classify(c.method, ParsePath(c.path), nil); got != c.want {
			t.Errorf("%s %s: %q, want %q", c.method, c.path, got, c.want)
		}
	}
}

func TestClassifyMandates(t *testing.T) {
	for path, want := range map[string]Action{
		"/health": None, "/health/": None, "/mandates": Mandates, "/health/x": Mandates, "": Mandates,
		"/health%3F/x": Mandates, "/health;x": Mandates, "/health.x": Mandates,
	} {
		if got := ClassifyMandates("GET", ParsePath(path)); got != want {
			t.Errorf("GET %s: %q, want %q", path, got, want)
		}
	}
	if got := ClassifyMandates("POST", ParsePath("/health")); got != Mandates {
		t.Errorf("POST /health: %q", got)
	}
}

func TestIsDocument(t *testing.T) {
	for path, want := range map[string]bool{
		"/ebox/messages/17/attachments/3/content":               true,
		"/referenceData/senderApplications/1/images/2/Content/": true,
		"/ebox/messages/17/body":                                false,
		"/ebox/messages":                                        false,
	} {
		if got := IsDocument(ParsePath(path)); got != want {
			t.Errorf("%s: %v", path, got)
		}
	}
}

func TestActionsAreSets(t *testing.T) {
	s := Actions(0).With(List).With(Open)
	if !s.Has(List) || !s.Has(Open) || s.Has(Change) || !s.Has(None) {
		t.Fatalf("%b", s)
	}
	for a := List; a <= Mandates; a++ {
		if got, ok := ParseAction(a.String()); !ok || got != a || !All.Has(a) {
			t.Errorf("%v does not survive its name", a)
		}
	}
	if _, ok := ParseAction(""); ok {
		t.Error("an empty word is an action")
	}
}
