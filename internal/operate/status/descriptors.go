package status

import (
	"fmt"

	"ebox-gateway/internal/descriptors"
)

// ofDescriptors warns before there are none left. short reports whether callers had to wait for
// one, turnedAway that connections were closed, for want of one or by the configured limit.
func (list *attentions) ofDescriptors(short, turnedAway bool) {
	severity := severityDegraded
	var text string
	switch used, most := descriptors.InUse(); {
	case most > 0 && 5*used > 4*most:
		text = fmt.Sprintf("%d of %d file descriptors are in use: at the limit nobody is let in and no upstream reached",
			used, most)
		if 50*used > 49*most {
			severity = severityFailing
		}
	case short && turnedAway:
		text = "callers have as many connections as the file descriptors allow, all in use: further ones are closed " +
			"unanswered"
	case turnedAway:
		list.add(severity, "connections",
			"callers have as many connections as server.limits.maxConnections allows, all in use: further ones of those who "+
				"have half of them are closed unanswered",
			"See who keeps so many connections (ss -tnp): an upstream that has become slow is the usual reason.",
			"eboxgatewayoverloaded")
		return
	case short:
		text = "callers have as many connections as the file descriptors allow: idle ones are closed for new ones"
	default:
		return
	}
	list.add(severity, "descriptors", text,
		"See who keeps so many connections (ss -tnp); lower server.limits or raise LimitNOFILE.", "eboxfiledescriptors")
}
