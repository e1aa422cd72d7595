package audit

import (
	"net/http"
	"time"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/ebox"
	"ebox-gateway/internal/printable"
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
	// KindRefusal is a request that the gateway refused.
	KindRefusal Kind = "refusal"

	// KindStart and KindStop are the beginning and the orderly end of a process.
	KindStart Kind = "start"
	KindStop  Kind = "stop"
	// KindSegment is the first record of a file: its format, and whose it is.
	KindSegment Kind = "segment"
	// KindGap says what may be missing before it, and why.
	KindGap Kind = "gap"
	// KindCheckpoint is a signature over everything before it.
	KindCheckpoint Kind = "checkpoint"
	// KindDropped says that a segment is no longer kept.
	KindDropped Kind = "dropped"

	// KindTimestamp is what an authority says of the time of a checkpoint.
	KindTimestamp Kind = "timestamp"

	// KindConfiguration is a configuration that was taken or refused.
	KindConfiguration Kind = "configuration"
	// KindAdministration is a change by the admin listener: a purge, a switch.
	KindAdministration Kind = "administration"
	// KindKey is another signing key of an OAuth client, or none.
	KindKey Kind = "key"
)

// signed reports whether records of the kind carry a signature.
func (k Kind) signed() bool {
	return k == KindStart || k == KindStop || k == KindCheckpoint || k == KindDropped
}

// evidenceOf reports whether a finished call is evidence:
//
//   - a read that its caller got, from the upstream or the cache;
//   - an opening that reached the provider, whatever came of it;
//   - the outcome of every write whose intent was recorded or that was sent.
//
// What is about nobody, a health check or the reference data, is none, and neither are
// reads that failed.
func evidenceOf(c *call.Record) (Kind, bool) {
	switch {
	case c.Route == "" || c.Upstream == "":
		return "", false // the gateway's own answer
	case c.Intent:
		return KindOutcome, true
	case Writes(c.Method, c.Action):
		return KindOutcome, c.Sent
	case c.Action == ebox.None:
		return "", false
	case c.Opening:
		return KindOpening, c.Sent
	case c.Status == 0 || c.Status >= http.StatusBadRequest || c.ProblemType != "":
		return "", false
	case c.Method == http.MethodOptions || ebox.IsReference(c.Path):
		return "", false
	}
	return KindRead, true
}

// Writes reports whether a call changes something. The one that reads by a POST, a search,
// does not.
func Writes(method string, action ebox.Action) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return false
	}
	return action != ebox.List
}

// MayRecord reports whether a request may end as a record of its own, before it is known
// how it ends.
func MayRecord(method string, action ebox.Action, path string) bool {
	if Writes(method, action) {
		return true
	}
	return action != ebox.None && method != http.MethodOptions && !ebox.IsReference(path)
}

// entry is a record that is not in the chain yet.
type entry struct {
	kind Kind
	at   time.Time
	// about is what it says beside its place, an object in JSON: a *Record of a call, the fields of
	// an event, or *signedFields. It holds nothing of its request but texts.
	about any
}

// header is what the first record of a segment says.
type header struct {
	Format  int       `json:"format"`
	Replica string    `json:"replica"`
	Time    time.Time `json:"time,omitzero"` // that of every record; read alone
	// Earliest is the time of the earliest record that waited when the segment was begun, where
	// that is of another day.
	Earliest time.Time `json:"earliest,omitzero"`
}

// signedFields are what a signed record says.
type signedFields struct {
	Replica string `json:"replica"`
	// Of a start: the program's version, and the key that signs from here on.
	Version   string `json:"version,omitempty"`
	Key       string `json:"key,omitempty"`
	PublicKey []byte `json:"publicKey,omitempty"`
	// Of a segment that was dropped: its name, numbers, and last record.
	File     string `json:"file,omitempty"`
	First    uint64 `json:"first,omitempty"`
	Last     uint64 `json:"last,omitempty"`
	LastHash string `json:"lastHash,omitempty"`
	LastTime string `json:"lastTime,omitempty"`
}

// gap is what the record of a gap says: what may be missing before it, and why.
type gap struct {
	Reason     string   `json:"reason"`
	Since      string   `json:"since,omitempty"`
	LostReads  int64    `json:"lostReads,omitempty"`
	LostWrites int64    `json:"lostWrites,omitempty"`
	LostEvents int64    `json:"lostEvents,omitempty"`
	SetAside   []string `json:"setAside,omitempty"`
	// MissingUpTo is the last record that was written to what was taken away.
	MissingUpTo uint64 `json:"missingUpTo,omitempty"`
}

// Record is what the evidence says of a call, but for its place. What is empty is left out.
type Record struct {
	RequestID string `json:"requestId,omitempty"`
	ParentID  string `json:"parentId,omitempty"`
	Caller    string `json:"caller,omitempty"`
	Source    string `json:"source,omitempty"`
	Listener  string `json:"listener,omitempty"`
	Actor     string `json:"actor,omitempty"`
	Purpose   string `json:"purpose,omitempty"`
	// Enterprise is the represented enterprise, or "own". Of a refusal Claimed is what the
	// caller said of it, where that is none that it may represent.
	Enterprise string `json:"enterprise,omitempty"`
	Claimed    string `json:"claimed,omitempty"`
	// Named are the enterprises that the request itself named, where that is read.
	Named    []string `json:"named,omitempty"`
	Client   string   `json:"client,omitempty"`
	Route    string   `json:"route,omitempty"`
	Provider string   `json:"provider,omitempty"`
	Upstream string   `json:"upstream,omitempty"`
	Action   string   `json:"action,omitempty"`
	Method   string   `json:"method,omitempty"`
	URL      string   `json:"url,omitempty"`
	// Messages are those of the path, or of the body of a write.
	Messages       []string `json:"messages,omitempty"`
	Attachment     string   `json:"attachment,omitempty"`
	MoreMessages   bool     `json:"moreMessages,omitempty"`
	IdempotencyKey string   `json:"idempotencyKey,omitempty"`
	// Created are the ids of what a write made.
	Created        []string `json:"created,omitempty"`
	TokenHash      string   `json:"tokenHash,omitempty"`
	Status         int      `json:"status,omitempty"`
	UpstreamStatus int      `json:"upstreamStatus,omitempty"`
	Problem        string   `json:"problem,omitempty"`
	LeftOut        int      `json:"leftOut,omitempty"`
	Sent           *bool    `json:"sent,omitempty"` // of an outcome alone
	Cut            bool     `json:"cut,omitempty"`
	BytesIn        int64    `json:"bytesIn,omitempty"`
	BytesOut       int64    `json:"bytesOut,omitempty"`
	AnswerFrom     string   `json:"answerFrom,omitempty"`
	Cache          string   `json:"cache,omitempty"`
	TraceID        string   `json:"traceId,omitempty"`
	AnswerTraceID  string   `json:"answerTraceId,omitempty"`
}

// MaxURL and maxProvider bound the path and the provider in a record, in bytes. Whoever is refused
// may have sent a long one; the id of a provider that there is has a hundred characters at most.
const MaxURL, maxProvider = 4096, 400

// recordOf is what a call is recorded as, with the numbers of citizens masked.
func recordOf(kind Kind, c *call.Record, mask func(string) string) *Record {
	r := &Record{
		RequestID: c.ID, ParentID: c.Parent, Caller: c.Caller, Listener: c.Listener, Actor: c.Actor, Purpose: c.Purpose,
		Named: c.Named, Client: c.Client, Route: c.Route, Provider: printable.Text(mask(c.Provider), maxProvider),
		Upstream: c.UpstreamHost, Action: c.Action.String(), Method: printable.Text(c.Method, printable.MaxAsserted),
		URL: printable.Text(mask(c.Path), MaxURL), Messages: c.Messages, MoreMessages: c.MoreMessages,
		IdempotencyKey: printable.Text(c.IdempotencyKey, printable.MaxAsserted),
	}
	if c.Source.IsValid() {
		r.Source = c.Source.String()
	}
	switch {
	case c.Own:
		r.Enterprise = "own"
	case c.Enterprise != 0:
		r.Enterprise = c.Enterprise.String()
	case kind == KindRefusal:
		r.Claimed = mask(c.Claimed)
	}
	message, attachment := ebox.IDs(c.Path)
	if message != "" {
		r.Messages = []string{printable.Text(message, MaxURL)}
	}
	r.Attachment = printable.Text(attachment, MaxURL)
	if kind == KindIntent {
		return r
	}
	r.Created, r.TokenHash, r.Problem = c.Created, c.TokenHash, c.ProblemType
	r.Status, r.UpstreamStatus = c.Status, c.UpstreamStatus
	if kind == KindRefusal {
		return r
	}
	if kind == KindOutcome {
		r.Sent = new(c.Sent)
	}
	r.Cut, r.BytesIn, r.BytesOut, r.Cache = c.Cut, c.BytesIn, c.BytesOut, c.Cache
	r.TraceID, r.AnswerTraceID = c.TraceID, c.AnswerTraceID
	switch {
	case c.ProblemType != "":
		r.AnswerFrom = "gateway"
	case c.Tries == 0:
		r.AnswerFrom = "cache"
	default:
		r.AnswerFrom = "upstream"
	}
	return r
}
