package simulator

import (
	"bytes"
	"encoding/json"
	"strings"
)

// renaming gives each member that version 3 of a Message Registry renamed the other of its names.
// It is for JSON without spaces.
var renaming = func() *strings.Replacer {
	var pairs []string
	for before, since := range map[string]string{
		"mainContent":      "isMainContent",
		"attachmentSigned": "isAttachmentSigned",
		"bodyMainContent":  "isBodyMainContent",
		"replyAuthorized":  "isReplyAuthorized",
		"receiptDate":      "publicationDate",
		"eboxIdValue":      "enterpriseNumber",
	} {
		before, since = `"`+before+`":`, `"`+since+`":`
		pairs = append(pairs, before, since, since, before)
	}
	return strings.NewReplacer(pairs...)
}()

// inOtherVersion is a JSON text without spaces in the names of the other version. Within the
// simulator all is in those of version 3.
func inOtherVersion(text []byte) []byte { return []byte(renaming.Replace(string(text))) }

// unmarshal reads JSON in the names of the API's version.
func (a *api) unmarshal(text []byte, v any) error {
	var compact bytes.Buffer
	if a.old && json.Compact(&compact, text) == nil {
		text = inOtherVersion(compact.Bytes())
	}
	return json.Unmarshal(text, v)
}
