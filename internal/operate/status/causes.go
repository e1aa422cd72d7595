package status

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"ebox-gateway/internal/activity"
	"ebox-gateway/internal/audit"
	"ebox-gateway/internal/authn"
	"ebox-gateway/internal/descriptors"
	"ebox-gateway/internal/directory"
	"ebox-gateway/internal/operate"
	"ebox-gateway/internal/operate/maintenance"
	"ebox-gateway/internal/redisstore"
	"ebox-gateway/internal/resilience"
)

const (
	clockOff = 30 * time.Second // from which a difference matters
	// frozenAfter is how long no call is answered until the upstream counts as frozen: with
	// several calls sooner, since one may just be slow.
	frozenAfter, frozenAlone = 5 * time.Second, 15 * time.Second
	// renewalFails is how long a token in use could not be renewed until somebody is told.
	renewalFails = 5 * time.Second
	// manyRefused is from how many enterprises on a refusal of all of them is more likely to
	// be about the office than about each of their mandates.
	manyRefused = 10
	// refusedLately is how old the last of these refusals may be for that to be so now.
	refusedLately = 15 * time.Minute
)

// causes lists how things stand, as far as they do not stand as they should: what is nearer
// to the root of everything else comes first. Those that fail or are degraded are /health's
// too, so that it is well again in the moment in which they are.
func causes(v *operate.View, s *Status) (list attentions) {
	now := s.Now
	if r := s.Configuration.Rejected; r != nil {
		list.add(severityDegraded, "configuration", "a new configuration was not taken: "+firstOf(r.Errors),
			"gateway check names every mistake with its line; a drop that is meant is confirmed by SIGHUP.",
			"eboxreloadfailed")
	}
	if a := causeOfEvidence(s.Evidence, now); a.Text != "" {
		list = append(list, a)
	}
	list.ofDescriptors(v.Short, v.TurnedAway)
	list.ofClock(s.Clients)
	noAnswer := false // of the Authorization Server
	for _, c := range s.Clients {
		refused := refusedToken(c, now)
		list.ofClient(c, refused, now)
		noAnswer = noAnswer || refused != nil && refused.Error.Code == authn.Unavailable
	}
	if v.Config.Registry.URL != nil && s.Directory.LastError != "" {
		list.ofRegistry(s.Directory, v.Config.Registry.Refresh)
	}
	if s.Redis != nil && s.Redis.State != redisstore.StateUp {
		list.add(severityDegraded, "redis", "the gateway goes on without Redis where it has to: "+s.Redis.Reason,
			"Nothing here: mend Redis, and all of it comes back by itself.", "eboxredisaway")
	}
	for _, u := range s.Upstreams {
		// Where a client gets no answer from the token endpoint, that is said of the client.
		if !noAnswer || u.Name != operate.TokenEndpoint {
			list.ofUpstream(u, now)
		}
	}
	for _, standing := range v.Activity.Standings() {
		list.ofRefused(standing, now)
	}
	for _, m := range s.Maintenance {
		if !m.Gateway { // health says that
			list.add(severityNotice, "provider "+m.Provider, maintenance.Sentence(m), "", "maintenance")
		}
	}
	for _, p := range v.Directory.List() {
		switch end, _ := p.MaintenanceEnd(now); p.State(now) {
		case directory.Maintenance:
			list.add(severityNotice, "provider "+p.ID, "in announced maintenance until "+clock(end, now), "", "maintenance")
		case directory.HostNotAllowed:
			list.add(severityDegraded, "provider "+p.ID, p.Refusal,
				"If you know the host to be right, add the line; it is never sent a token before.", "simulation-first")
		}
	}
	for listener, end := range v.ListenerExpiry {
		list.ofListener("listener "+listener, end, now)
	}
	return list
}

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

// ofClock compares the clock of the Authorization Server, which all clients share.
func (list *attentions) ofClock(clients []authn.ClientStatus) {
	for _, c := range clients {
		if c.Clock == nil {
			continue
		}
		ahead := time.Duration(c.Clock.AheadSeconds * float64(time.Second)).Round(time.Second)
		side := "ahead of"
		if ahead < 0 {
			side = "behind"
		}
		if ahead.Abs() >= clockOff {
			list.add(severityDegraded, "clock", fmt.Sprintf("the Authorization Server's clock is %s %s this machine's: it may "+
				"refuse tokens for that", ahead.Abs(), side),
				"Have this machine's clock set: timedatectl says whether it is synchronised.", "eboxclockdiffers")
			return
		}
	}
}

// ofRegistry says what a list that was not given means.
func (list *attentions) ofRegistry(d DirectoryStatus, refresh time.Duration) {
	age := time.Duration(d.AgeSeconds) * time.Second
	severity, text := severityNotice, "it gave no list when it was last asked, and the one before is used"
	switch {
	case len(d.Providers) == 0:
		severity, text = severityFailing, "there is no list of Document Providers"
	case age > 2*refresh:
		severity, text = severityDegraded, fmt.Sprintf("the list of Document Providers is %s old", age)
	}
	list.add(severity, "registry", text+": "+d.LastError, "gateway check --online has the step that fails.",
		"eboxregistryfails")
}

// ofRefused tells an upstream that refuses everybody from one that refuses some.
func (list *attentions) ofRefused(s activity.Standing, now time.Time) {
	if s.InARow < manyRefused {
		return
	}
	part := "provider " + s.Provider
	if s.Provider == "" {
		part = "route " + s.Route
	}
	severity, when := severityFailing, ""
	if now.Sub(s.Last) > refusedLately {
		severity, when = severityNotice, " when they were last asked for"
	}
	list.add(severity, part, fmt.Sprintf("%d enterprises were refused%s, and none served since %s: is the office's own "+
		"standing gone?", s.InARow, when, clock(s.Since, now)),
		"Look in Chaman at the office's registration as Service Provider and its scopes, before each mandate.",
		"eboxenterprisesrefused")
}

// ofClient names a key that cannot be used before a token that is refused for it.
func (list *attentions) ofClient(c authn.ClientStatus, refused *authn.TokenStatus, now time.Time) {
	part := "client " + c.Name
	unusable := c.Key != nil && (c.Key.State == authn.KeyExpired || c.Key.State == authn.KeyNotYetValid)
	switch {
	case c.KeyError != nil && c.Key == nil:
		list.add(severityFailing, part, c.KeyError.Text,
			"gateway check says what is wrong with the files: password, rights, half a file.", "eboxkeycannotbeloaded")
	case c.KeyError != nil: // nothing fails yet, and everything will after a restart
		list.add(severityDegraded, part,
			c.KeyError.Text+". The former key goes on signing until the process ends: do not restart it",
			"gateway check says what is wrong with the files.", "eboxkeycannotbeloaded")
	case unusable:
		severity, text := severityDegraded, "its certificate expired on "+minute(c.Key.NotAfter)
		if c.Key.State == authn.KeyNotYetValid {
			text = "its certificate is not valid before " + clock(c.Key.NotBefore, now)
		}
		if refused != nil {
			text += fmt.Sprintf(", and the Authorization Server answers %s; next try %s", refused.Error.Code,
				clock(refused.Error.Until, now))
			if refused.Hash == "" {
				severity = severityFailing
			}
		}
		list.add(severity, part, text,
			"Put a valid certificate and its key into the client's files, and register it in Chaman.",
			"eboxcertificateexpires")
	case c.Key != nil && c.Key.State == authn.KeyExpiring:
		section := "eboxcertificateexpiressoon"
		if c.Key.DaysLeft != nil && *c.Key.DaysLeft < 7 {
			section = "eboxcertificateexpires"
		}
		list.add(severityDegraded, part, "its certificate expires on "+minute(c.Key.NotAfter),
			"Order a new one and register it in Chaman: that takes weeks.", section)
	}
	if p := c.Pending; p != nil {
		text := "a new key does not sign yet: " + p.Reason
		if !p.NextTry.IsZero() {
			text += " Next try " + clock(p.NextTry, now) + "."
		}
		list.add(severityDegraded, part, text,
			"Register its certificate in Chaman, then press Try now or run gateway token --retry. Do not restart.",
			"eboxkeypending")
	}
	for _, t := range c.Tokens {
		for _, upstream := range slices.Sorted(maps.Keys(t.RefusedBy)) {
			list.add(severityFailing, part, upstream+" refuses its token (401), and again within a minute of renewing it: "+
				"calls to it fail until the next renewal, "+clock(t.RefusedBy[upstream], now),
				"It ends by itself. If it does not, tokens are being revoked: ask the operators of the Authorization Server.",
				"eboxtokenrefused")
		}
	}
	if refused == nil || unusable {
		return
	}
	severity, text := severityFailing, strings.TrimPrefix(refused.Error.Text, "fetching token for "+c.Name+": ")
	if text = strings.TrimSuffix(text, "."); refused.Error.Code == "invalid_client" {
		text, _, _ = strings.Cut(text, " for scope ") // it is about no scope
	}
	if refused.Hash != "" {
		severity, text = severityDegraded, text+"; calls fail once the token in use ends, "+clock(refused.Expires, now)
	}
	if !refused.Error.Until.IsZero() {
		text += "; next try " + clock(refused.Error.Until, now)
	}
	switch refused.Error.Code {
	case authn.Unavailable:
		list.add(severity, part, text, "gateway check --online tells the network from the server.", "eboxtokenunavailable")
	case "invalid_scope", "access_denied":
		list.add(severity, part, text,
			"Look in Chaman at the scopes, at the onboarding, and whether the terms of use were accepted; then press Try now.",
			"eboxtokenrefused")
	default:
		list.add(severity, part, text,
			"Look in Chaman at the client id and whether this certificate is registered for it; then press Try now.",
			"eboxtokenrefused")
	}
}

// refusedToken is a token that the client does not get: one that calls need now, or else one
// in use whose renewal has failed for some seconds. It is nil if there is none.
func refusedToken(c authn.ClientStatus, now time.Time) (refused *authn.TokenStatus) {
	for i, t := range c.Tokens {
		switch {
		case t.Error == nil || c.Key == nil:
		case t.Hash == "":
			return &c.Tokens[i]
		case refused == nil && now.Sub(t.Error.Since) >= renewalFails:
			refused = &c.Tokens[i]
		}
	}
	return refused
}

func (list *attentions) ofUpstream(u operate.Upstream, now time.Time) {
	part := "route " + u.Name
	if strings.HasPrefix(u.Name, "provider ") || u.Name == "registry" || strings.Contains(u.Name, " ") {
		part = u.Name
	}
	var unanswered time.Duration
	if !u.Unanswered.IsZero() {
		unanswered = now.Sub(u.Unanswered)
	}
	frozen := unanswered >= frozenAlone || unanswered >= frozenAfter && u.Calls >= 3
	switch {
	case u.Circuit == resilience.Closed:
	case !u.UntriedSince.IsZero() && frozen: // the probe is under way, and shows that it still fails
	case !u.UntriedSince.IsZero():
		// One that nobody has tried for so long says nothing about now: a provider that is
		// asked once a night would be in trouble all day.
		list.add(severityNotice, part, "it had been failing, and too few have called since "+clock(u.UntriedSince, now)+
			" to know whether it still does: the next calls find out", "", "eboxcircuitopen")
	default:
		text := "its circuit is " + string(u.Circuit) + ": it has been failing"
		if !u.Until.IsZero() {
			text += "; next try " + clock(u.Until, now)
		}
		list.add(severityFailing, part, text,
			"Is it only us? gateway check --online. Otherwise tell its operators; it closes by itself.", "eboxcircuitopen")
	}
	if n := len(u.OpenFor); n > 0 && u.Circuit == resilience.Closed {
		text := "its circuit is open for enterprise " + u.OpenFor[0]
		if n > 1 {
			text += fmt.Sprintf(" and %d more", n-1)
		}
		list.add(severityNotice, part, text+" alone: their calls failed, others' were answered",
			"Ask the provider about the mandate and the e-Box of each.", "eboxcircuitopen")
	}
	if frozen {
		list.add(severityFailing, part, fmt.Sprintf("frozen: it has answered no call for %s; %d wait, the oldest for %s",
			unanswered.Round(time.Second), u.Calls, now.Sub(u.Oldest).Round(time.Second)),
			"Call its operators; gateway maintenance begin spares the callers the wait.", "eboxupstreamfrozen")
	}
}

// ofListener says when a listener's certificate has to be renewed.
func (list *attentions) ofListener(part string, end, now time.Time) {
	const (
		day    = 24 * time.Hour
		remedy = "Put a new one into certFile and keyFile: it is taken without a restart."
	)
	left := end.Sub(now)
	soon := fmt.Sprintf("its certificate expires in %d days, on %s", left/day, clock(end, now))
	switch {
	case left <= 0:
		list.add(severityFailing, part, "its certificate expired on "+clock(end, now)+
			": callers that check it cannot connect", remedy, "eboxlistenercertificateexpires")
	case left < 7*day:
		list.add(severityDegraded, part, soon, remedy, "eboxlistenercertificateexpires")
	case left < 30*day:
		list.add(severityNotice, part, soon, "Order a new one.", "eboxlistenercertificateexpiressoon")
	}
}

// minute is a moment of a certificate's, in UTC.
func minute(t time.Time) string { return t.UTC().Format("2006-01-02, 15:04 MST") }

// clock is a moment in UTC, as everywhere, with its day unless that is now's.
func clock(t, now time.Time) string {
	if t, now = t.UTC(), now.UTC(); t.YearDay() == now.YearDay() && t.Year() == now.Year() {
		return t.Format("15:04:05 MST")
	}
	return t.Format("2006-01-02 15:04:05 MST")
}
