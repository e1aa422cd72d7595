package status

import (
	"fmt"

	"ebox-gateway/internal/descriptors"
)

// ofDescriptors warns before there are none left. short tells that callers had to wait for one.
func (list *attentions) ofDescriptors(short bool) {
	severity := severityDegraded
	var text string
	switch used, most := descriptors.InUse(); {
	case most > 0 && 5*used > 4*most:
		text = fmt.Sprintf("%d of %d file descriptors are in use: at the limit nobody is let in and no upstream reached",
			used, most)
		if 50*used > 49*most {
			severity = severityFailing
		}
	case short:
		text = "callers have as many connections as the file descriptors allow: idle ones are closed for new ones"
	default:
		return
	}
	list.add(severity, "descriptors", text,
		"See who keeps so many connections (ss -tnp); lower server.limits or raise LimitNOFILE.", "eboxfiledescriptors")
}
