package simulator

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
)

// otherName has the members of a Message Registry that version 3 renamed, in both directions.
var otherName = func() map[string]string {
	both := map[string]string{}
	for before, since := range formerNames {
		both[before], both[since] = since, before
	}
	return both
}()

// formerNames are those before version 3.
var formerNames = map[string]string{
	"mainContent":      "isMainContent",
	"attachmentSigned": "isAttachmentSigned",
	"bodyMainContent":  "isBodyMainContent",
	"replyAuthorized":  "isReplyAuthorized",
	"receiptDate":      "publicationDate",
	"eboxIdValue":      "enterpriseNumber",
}

// memberPattern is a member in JSON: a text that a colon follows. Quotes within a text are
// escaped, so that nothing else looks like one.
var memberPattern = regexp.MustCompile(`"(\w+)"\s*:`)

// memberName gives the name that a member of version 3 has in the version of the API.
func (a *api) memberName(name string) string {
	if other := otherName[name]; a.old && other != "" {
		return other
	}
	return name
}

// unmarshal reads JSON in the names of the API's version.
func (a *api) unmarshal(text []byte, v any) error {
	var compact bytes.Buffer
	if a.old && json.Compact(&compact, text) == nil {
		text = inOtherVersion(compact.Bytes())
	}
	return json.Unmarshal(text, v)
}

// inOtherVersion gives each renamed member of a JSON text without spaces the other of its names.
// Within the simulator all is in the names of version 3.
func inOtherVersion(text []byte) []byte { return []byte(renaming.Replace(string(text))) }

var renaming = func() *strings.Replacer {
	var pairs []string
	for name, other := range otherName {
		pairs = append(pairs, `"`+name+`":`, `"`+other+`":`)
	}
	return strings.NewReplacer(pairs...)
}()

// namesOfOther lists the members of a JSON text that have the name of the other version.
func (a *api) namesOfOther(text []byte) (unknown []string) {
	for _, member := range memberPattern.FindAllSubmatch(text, -1) {
		name := string(member[1])
		if _, former := formerNames[name]; otherName[name] != "" && former != a.old {
			unknown = append(unknown, name)
		}
	}
	return unknown
}
