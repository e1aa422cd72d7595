package ebox

import (
	"slices"
	"strings"
)

// The Belgif guide has reads by POST, for what is too long or too private for a URL:
// POST …/search, …/query and …/get below a collection; …/update and …/delete change. A
// read needs less permission than a change, is repeated when it fails, and leaves
// what is kept in force. So here, unlike with openings, the strict reading is the safe
// one: a path is a read only if it is written exactly as one that is known, with one
// slash at its end at most.

// readsByPost reports whether a POST to a path with this last segment reads.
func readsByPost(segment string) bool {
	return segment == "search" || segment == "query" || segment == "get"
}

// collection gives the path in front of the last segment of a read by POST; ok is false
// if path is none.
func collection(path string) (in string, ok bool) {
	path = strings.TrimSuffix(path, "/")
	i := strings.LastIndexByte(path, '/')
	if i < 0 || !readsByPost(path[i+1:]) {
		return "", false
	}
	return path[:i], true
}

// collections are those of the e-Box APIs and of grant/citizen that a POST may read, by
// their paths below the API's base URL.
var collections = []string{
	"/ebox/messages", "/messages", "/ebox/sentMessages", "/sentMessages", "/ebox/templates", "/templates",
	"/ebox/statistics", "/statistics",
	"/referenceData/messageTypes", "/referenceData/senderOrganizations", "/referenceData/senderApplications",
	"/eboxPreferences", "/citizenEboxConsents", "/messageProviders", "/messageRegistries",
	"/mandates",
}

// ofPartition are the collections of the Partition API below /ebox/{enterpriseNumber}.
var ofPartition = []string{"", "/routingRules", "/hasMandate", "/partitions"}

// knownRead reports whether a POST to a path below the base URL of an e-Box API or of
// grant/citizen reads a collection that is known: POST /ebox/messages/search, POST
// /mandates/query. What is below one message, a publication or a reply, is none,
// whatever its last segment says.
func knownRead(path string) bool {
	in, ok := collection(path)
	if !ok {
		return false
	}
	if rest, below := strings.CutPrefix(in, "/ebox/"); below {
		number, rest, _ := cutSegment(rest)
		if len(number) >= 9 && isDigits(number) {
			return slices.Contains(ofPartition, rest)
		}
	}
	return slices.Contains(collections, in)
}

// cutSegment parts a path, without its first slash, after its first segment.
func cutSegment(path string) (segment, rest string, more bool) {
	if i := strings.IndexByte(path, '/'); i >= 0 {
		return path[:i], path[i:], true
	}
	return path, "", false
}

// plainRead reports whether a POST to an upstream of which nothing is known is a read of
// the guide's kind. Every segment in front has to be a name, or a version as in /v1: what
// stands below an id may belong to one thing, where a search among replies and a reply
// look alike. What it leaves out, a route's reads can name.
func plainRead(path string) bool {
	in, ok := collection(path)
	if !ok {
		return false
	}
	for in != "" {
		if in[0] != '/' {
			return false
		}
		var segment string
		segment, in, _ = cutSegment(in[1:])
		if !isName(segment) && !isVersion(segment) {
			return false
		}
		switch strings.ToLower(segment) {
		case "publishmessage", "linkeboxmessage", "searchmessagestatus", "replies", "actions", "update", "delete", "content",
			"body", "structureddata":
			return false
		}
	}
	return true
}

func isName(s string) bool {
	for i := range len(s) {
		c := s[i] | 0x20
		if (c < 'a' || c > 'z') && (i == 0 || s[i] != '-' && s[i] != '_') {
			return false
		}
	}
	return s != ""
}

func isVersion(s string) bool {
	return len(s) > 1 && s[0] == 'v' && strings.Trim(s[1:], "0123456789.") == ""
}

// Reads are the reads by another method than GET that a route names.
type Reads []ReadRule

// ReadRule names calls that read, whatever their method says. What publishes or
// replies on an e-Box route stays what it is.
type ReadRule struct {
	// Methods that match. Default POST.
	Methods []string `yaml:"methods" config:",some"`
	// Paths that match, below the upstream's base URL, as in a scope rule, but compared as
	// they are written.
	Paths []string `yaml:"paths" config:"pattern,some" jsonschema:"required"`
}

// Name reports whether they name a call. Paths are compared as they are written, but for a slash
// at the end.
func (r Reads) Name(method, path string) bool {
	return slices.ContainsFunc(r, func(one ReadRule) bool {
		if len(one.Methods) == 0 && method != "POST" || len(one.Methods) > 0 && !slices.Contains(one.Methods, method) {
			return false
		}
		written := strings.Split(strings.TrimSuffix(path, "/"), "/")
		return slices.ContainsFunc(one.Paths, func(p string) bool { return Matches(strings.Split(p, "/"), written) })
	})
}
