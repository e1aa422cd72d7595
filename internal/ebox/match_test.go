package ebox_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"ebox-gateway/internal/ebox"
)

// A pattern of scopes, reads or cache rules matches what a server could read as such a path,
// and nothing with another number of segments.
func FuzzMatches(f *testing.F) {
	for _, seed := range []string{"/ebox/messages/17/body", "/EBOX//messages;v=1/%31/body.json",
		"/ebox/messages/17/body%3Fx/y", "/ebox/messages/%20/body", "/ebox/messages", "/referenceData/x/y", ""} {
		f.Add(seed)
	}
	one, below := strings.Split("ebox/messages/*/body", "/"), strings.Split("referencedata/**", "/")
	f.Fuzz(func(t *testing.T, escaped string) {
		if _, err := url.PathUnescape(escaped); err != nil || strings.ContainsAny(escaped, "?#") {
			return // no path is so written
		}
		got := ebox.ParsePath(escaped).Segments
		for _, segment := range got {
			if segment == "" || strings.ContainsAny(segment, ";?#") {
				t.Fatalf("%q has the segment %q", escaped, segment)
			}
		}
		want := len(got) == 4 && got[0] == "ebox" && got[1] == "messages" && got[3] == "body"
		if ebox.Matches(one, got) != want {
			t.Fatalf("%q, read as %q, matches: %v", escaped, got, !want)
		}
		if want := len(got) > 0 && got[0] == "referencedata"; ebox.Matches(below, got) != want {
			t.Fatalf("%q, read as %q, is below: %v", escaped, got, !want)
		}
		if !ebox.Matches(got, got) && !slices.Contains(got, "*") && !slices.Contains(got, "**") {
			t.Fatalf("%q does not match itself", escaped)
		}
	})
}
