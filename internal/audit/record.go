package audit

import (
	"net/netip"
	"time"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/ebox"
)

// Kind is what a record is about.
type Kind string

// The kinds of record.
const (
	// KindRead is an answer that a caller got, from the upstream or the cache.
	KindRead Kind = "read"
	// KindOpening is a call that reached a provider and marks a document read,
	// whatever came of it.
	KindOpening Kind = "opening"
	// KindIntent is a write that is about to be sent, KindOutcome what became of it.
	KindIntent  Kind = "intent"
	KindOutcome Kind = "outcome"

	// KindStart and KindStop are the beginning and the orderly end of a process.
	KindStart Kind = "start"
	KindStop  Kind = "stop"
	// KindGap says what may be missing before it, and why.
	KindGap Kind = "gap"
	// KindCheckpoint is a signature over everything before it.
	KindCheckpoint Kind = "checkpoint"
	// KindDropped says that a segment is no longer kept.
	KindDropped Kind = "dropped"

	// KindConfiguration is a configuration that was taken or refused.
	KindConfiguration Kind = "configuration"
	// KindAdministration is a change by the admin listener: a purge, a switch.
	KindAdministration Kind = "administration"
	// KindKey is another signing key of an OAuth client, or none.
	KindKey Kind = "key"
)

var kinds = [...]Kind{
	KindRead, KindOpening, KindIntent, KindOutcome, KindStart, KindStop, KindGap, KindCheckpoint, KindDropped,
	KindConfiguration, KindAdministration, KindKey,
}

// kindOf gives a kind that was read, without an allocation if it is known.
func kindOf(b []byte) Kind {
	for _, k := range kinds {
		if string(b) == string(k) {
			return k
		}
	}
	return Kind(b)
}

// signed tells the kinds that carry a signature.
func (k Kind) signed() bool {
	return k == KindStart || k == KindStop || k == KindCheckpoint || k == KindDropped
}

// Event is something other than a call that belongs into the evidence.
type Event struct {
	// Kind is KindConfiguration, KindAdministration or KindKey.
	Kind Kind
	// Source is the address of whoever asked for it, if somebody did.
	Source netip.Addr
	// Fields are what is to be known of it. Names are plain words in camelCase other
	// than those that every record has.
	Fields []Field
}

// Field is one member of an Event's record.
type Field struct{ Name, Value string }

// entry is a record that is not in the chain yet.
type entry struct {
	kind  Kind
	at    time.Time
	call  call.Record
	event *Event
}

// appendTo writes the line of an entry, with its path masked.
func (e *entry) appendTo(b []byte, l *link, mask func(string) string) []byte {
	start := len(b)
	b = l.begin(b, e.kind, e.at)
	if e.event != nil {
		b = appendAddr(b, "source", e.event.Source)
		for _, f := range e.event.Fields {
			b = appendText(b, f.Name, f.Value)
		}
	} else {
		b = e.appendCall(b, mask)
	}
	return l.end(b, start, nil)
}

// maxActor bounds what a caller can have written by X-Actor, in bytes.
const maxActor = 256

func (e *entry) appendCall(b []byte, mask func(string) string) []byte {
	r := &e.call
	b = appendText(b, "requestId", r.ID)
	b = appendText(b, "parentId", r.Parent)
	b = appendText(b, "caller", r.Caller)
	b = appendAddr(b, "source", r.Source)
	b = appendText(b, "listener", r.Listener)
	b = appendText(b, "actor", r.Actor[:min(len(r.Actor), maxActor)])
	switch {
	case r.Own:
		b = appendText(b, "enterprise", "own")
	case r.Enterprise != 0:
		b = appendText(b, "enterprise", r.Enterprise.String())
	}
	b = appendTexts(b, "named", r.Named)
	b = appendText(b, "client", r.Client)
	b = appendText(b, "route", r.Route)
	b = appendText(b, "provider", r.Provider)
	b = appendText(b, "upstream", r.UpstreamHost)
	b = appendText(b, "action", r.Action.String())
	b = appendText(b, "method", r.Method)
	b = appendText(b, "url", mask(r.Path))
	b = appendText(b, "idempotencyKey", r.IdempotencyKey)
	message, attachment := ebox.IDs(r.Path)
	if message != "" {
		b = append(appendName(b, "messages"), '[')
		b = appendQuoted(b, message)
		b = append(b, ']')
	} else {
		b = appendTexts(b, "messages", r.Messages)
	}
	b = appendText(b, "attachment", attachment)
	if r.MoreMessages {
		b = appendTruth(b, "moreMessages", true)
	}
	if e.kind == KindIntent {
		return b
	}
	b = appendText(b, "tokenHash", r.TokenHash)
	b = appendCount(b, "status", int64(r.Status))
	b = appendCount(b, "upstreamStatus", int64(r.UpstreamStatus))
	b = appendText(b, "problem", r.ProblemType)
	if e.kind == KindOutcome {
		b = appendTruth(b, "sent", r.Sent)
	}
	if r.Cut {
		b = appendTruth(b, "cut", true)
	}
	b = appendCount(b, "bytesIn", r.BytesIn)
	b = appendCount(b, "bytesOut", r.BytesOut)
	from := "upstream"
	if r.Tries == 0 {
		from = "cache"
	}
	if r.ProblemType != "" {
		from = "gateway"
	}
	b = appendText(b, "answerFrom", from)
	b = appendText(b, "cache", r.Cache)
	b = appendText(b, "traceId", r.TraceID)
	return appendText(b, "answerTraceId", r.AnswerTraceID)
}
