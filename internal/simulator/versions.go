package simulator

import "regexp"

// renamed are the members of a Message Registry that version 3 renamed, by their name before it.
var renamed = map[string]string{
	"mainContent":      "isMainContent",
	"attachmentSigned": "isAttachmentSigned",
	"bodyMainContent":  "isBodyMainContent",
	"replyAuthorized":  "isReplyAuthorized",
	"receiptDate":      "publicationDate",
	"eboxIdValue":      "enterpriseNumber",
}

// otherName has them in both directions.
var otherName = func() map[string]string {
	both := map[string]string{}
	for before, since := range renamed {
		both[before], both[since] = since, before
	}
	return both
}()

// memberName is the name of a member in JSON: a text that a colon follows. Quotes within a
// text are escaped, so that nothing else looks like one.
var memberName = regexp.MustCompile(`"(\w+)"\s*:`)

// inOtherVersion gives each renamed member of a JSON text the other of its names. Within the
// simulator all is in the names of version 3.
func inOtherVersion(text []byte) []byte {
	return memberName.ReplaceAllFunc(text, func(member []byte) []byte {
		if other, ok := otherName[string(memberName.FindSubmatch(member)[1])]; ok {
			return []byte(`"` + other + `":`)
		}
		return member
	})
}

// namesNotOf lists the members of a JSON text that have the name of the other version.
func namesNotOf(old bool, text []byte) (unknown []string) {
	for _, member := range memberName.FindAllSubmatch(text, -1) {
		name := string(member[1])
		if _, before := renamed[name]; otherName[name] != "" && before != old {
			unknown = append(unknown, name)
		}
	}
	return unknown
}
