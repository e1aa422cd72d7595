package status

import (
	"fmt"
	"strings"
	"time"

	"ebox-gateway/internal/audit"
)

// causeOfEvidence says what is wrong with the evidence; an empty text if nothing is, or none
// is kept.
func causeOfEvidence(s *audit.Status, now time.Time) Attention {
	if s == nil {
		return Attention{}
	}
	a := Attention{Severity: severityDegraded, Part: "evidence", Runbook: runbook("eboxevidencefailing"),
		Remedy: "Make room on the disk of audit.dir, or mend it; never delete segments."}
	switch {
	case s.Full:
		a.Text = strings.TrimSuffix(fmt.Sprintf("%d records of the evidence wait in memory, and requests are refused since "+
			"no more may (audit.stopAfter): %s", s.Waiting, s.Failing), ": ")
	case s.Missing != "" && s.Failing == "":
		a.Text = "evidence is missing since " + clock(s.Since, now) + ": " + s.Missing
		if s.Refusing {
			a.Text += "; requests are refused for it (audit.stopAfter) until the gateway is restarted"
		}
		a.Remedy = "Put it back from a copy, find out who took it, and restart the gateway."
		a.Runbook = runbook("eboxevidencemissing")
	case s.Refusing:
		a.Text = "evidence cannot be written, and requests are refused for it (audit.stopAfter): " + s.Failing
	case s.Failing != "":
		a.Text = fmt.Sprintf("evidence cannot be written since %s; %d records wait in memory: %s",
			clock(s.Since, now), s.Waiting, s.Failing)
	case s.Shipping != "":
		a.Text = s.Shipping
		a.Remedy = "The evidence itself has them: see to what is named, or to whatever takes audit.checkpoints."
	case s.Stamping != "":
		a.Text, a.Remedy = s.Stamping, "Nothing else fails: look at audit.timestampUrl and the way to it."
		a.Runbook = runbook("eboxevidenceunstamped")
	default:
		return Attention{}
	}
	return a
}
