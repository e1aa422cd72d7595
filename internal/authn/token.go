package authn

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"time"
)

// Token is an access token and what is known about it. It is a small value that
// can be copied freely; the zero Token is none. However it is printed, logged or
// encoded, the secret does not show: whoever needs the header value asks for it
// by name.
type Token struct {
	h *held
}

// held is what all copies of a Token share. Only used changes after it
// was made.
type held struct {
	// header is the value of the Authorization field.
	header string
	hash   string
	key    TokenKey
	extra  []string // see Extra

	obtained time.Time
	// expires has a monotonic reading, expiresWall has none: a token is over when
	// either clock says so. The one does not count the time that a machine sleeps,
	// the other can be set back.
	expires     time.Time
	expiresWall int64

	// used is set by the first request that carries the token. A token that
	// nobody used is not renewed.
	used atomic.Bool
}

// newToken makes a Token of an answer's access token. obtained is the moment
// before the request for it was sent: no clock of ours can then outlive the
// server's.
func newToken(secret string, key TokenKey, obtained time.Time, lifetime time.Duration, extra []string) Token {
	sum := sha256.Sum256([]byte(secret))
	expires := obtained.Add(lifetime)
	return Token{&held{
		header:      "Bearer " + secret,
		hash:        hex.EncodeToString(sum[:]),
		key:         key,
		extra:       extra,
		obtained:    obtained,
		expires:     expires,
		expiresWall: expires.UnixNano(),
	}}
}

// held is what t shares with its copies; empty for the zero Token.
func (t Token) held() *held {
	if t.h == nil {
		return new(held)
	}
	return t.h
}

// Valid reports whether the token may be sent at the moment now.
func (t Token) Valid(now time.Time) bool { return t.h != nil && t.h.valid(now) }

func (h *held) valid(now time.Time) bool {
	return now.Before(h.expires) && now.UnixNano() < h.expiresWall
}

func (h *held) secret() string { return h.header[len("Bearer "):] }

// Authorization is the value of the Authorization header field (RFC 6750,
// section 2.1), "" for the zero Token. It is the secret itself.
func (t Token) Authorization() string { return t.held().header }

// Hash is the SHA-256 of the token in hexadecimal, by which logs and evidence
// name it.
func (t Token) Hash() string { return t.held().hash }

// Expires is the moment from which the token is not sent any more.
func (t Token) Expires() time.Time { return t.held().expires }

// Obtained is the moment before the request for the token was sent.
func (t Token) Obtained() time.Time { return t.held().obtained }

// Key is what the token was issued for.
func (t Token) Key() TokenKey { return t.held().key }

// Extra are the scopes that the token opens though they were not asked for: for one that was asked
// for without any, all that the server names, which are the client's by default.
func (t Token) Extra() []string { return t.held().extra }

// Format is fmt.Formatter's: every verb prints the same. Without it, one that does not fit would print
// all that is behind the pointer.
func (t Token) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "<token>") }

// LogValue is what is fit for a log.
func (t Token) LogValue() slog.Value {
	if t.h == nil {
		return slog.StringValue("")
	}
	return slog.GroupValue(slog.String("hash", t.h.hash), slog.Time("expires", t.h.expires))
}
