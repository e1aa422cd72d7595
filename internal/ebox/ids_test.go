package ebox_test

import (
	"testing"

	"ebox-gateway/internal/ebox"
)

func TestIDs(t *testing.T) {
	for _, c := range []struct{ name, path, message, attachment string }{
		{"a list names none", "/ebox/messages", "", ""},
		{"a list with a slash names none", "/ebox/messages/", "", ""},
		{"a message", "/ebox/messages/M1", "M1", ""},
		{"its body", "/ebox/messages/M1/body", "M1", ""},
		{"its attachments", "/ebox/messages/M1/attachments", "M1", ""},
		{"one attachment", "/ebox/messages/M1/attachments/A1/content", "M1", "A1"},
		{"below the gateway's own path", "/enterprises/0206731645/ebox/providers/nsso/ebox/messages/M1/attachments/A1",
			"M1", "A1"},
		{"a provider called messages", "/ebox/providers/messages/ebox/messages/M1", "M1", ""},
		{"a message called messages", "/ebox/messages/messages/attachments/attachments", "messages", "attachments"},
		{"a message called providers", "/ebox/messages/providers/attachments/A1", "providers", "A1"},
		{"escapes, the case of an id kept", "/ebox/Messages/a%20B/ATTACHMENTS/%41", "a B", "A"},
		{"matrix parameters and empty segments", "/ebox//messages;v=1//M1;x/attachments//A1;y", "M1", "A1"},
		{"an encoded question mark", "/ebox/messages/M1%3Fx/attachments/A1", "M1", ""},
		{"no messages", "/ebox", "", ""},
		{"a mandate", "/grant/citizen/mandates/5", "", ""},
	} {
		if message, attachment := ebox.IDs(c.path); message != c.message || attachment != c.attachment {
			t.Errorf("%s: %q, %q", c.name, message, attachment)
		}
	}
}

func TestIsReference(t *testing.T) {
	for path, want := range map[string]bool{
		"/ebox/providers/nsso/referenceData/messageTypes":         true,
		"/enterprises/own/ebox/providers/nsso/referencedata":      true,
		"/ebox/providers/referenceData/ebox/messages":             false,
		"/ebox/providers/nsso/ebox/messages/referenceData/body":   false,
		"/ebox/providers/nsso/ebox/messages/M1/referenceData/foo": false,
		"/ebox/providers/nsso/ebox":                               false,
	} {
		if got := ebox.IsReference(path); got != want {
			t.Errorf("%s: %v", path, got)
		}
	}
}
