package authn

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"ebox-gateway/internal/jsonscan"
	"ebox-gateway/internal/wire"
)

const (
	// maxAnswer bounds the body of a token endpoint's answer.
	maxAnswer = 1 << 20
	// maxSecret bounds an access token: a longer one fits in no server's header limit.
	maxSecret = 32 << 10
	// defaultLifetime is for an answer without expires_in, which RFC 6749 only
	// recommends. It is short, because a token that is fetched too often costs
	// little and one that is used too long costs a refusal.
	defaultLifetime = time.Minute
	// maxLifetime bounds expires_in: beyond a day a number is rather a mistake, a
	// time stamp or milliseconds, and renewing once a day costs nothing.
	maxLifetime = 24 * time.Hour
)

// grant is the successful answer of RFC 6749, section 5.1.
type grant struct {
	secret   string
	lifetime time.Duration
	// scopes are what was granted; none if the answer did not say, or named an empty list, by which
	// servers mean all that was asked for.
	scopes []string
}

// parseGrant reads a successful answer. Its errors say what is wrong with the
// answer and quote nothing of it.
func parseGrant(body []byte) (grant, error) {
	members, err := membersOf(body)
	if err != nil {
		return grant{}, err
	}
	if jsonscan.Check(body) != nil {
		return grant{}, errors.New("two parsers would read it differently: it names a member twice, or is no UTF-8")
	}
	lifetime, err := lifetimeOf(members["expires_in"])
	secret, kind := text(members, "access_token", &err), text(members, "token_type", &err)
	scope := text(members, "scope", &err)
	g := grant{secret, lifetime, strings.Fields(scope)}
	switch {
	case err != nil:
		return grant{}, err
	case g.secret == "":
		return grant{}, errors.New("it has no access_token")
	case !isSecret(g.secret):
		return grant{}, errors.New("its access_token cannot be a header value")
	case !strings.EqualFold(kind, "Bearer"):
		return grant{}, errors.New("its token_type is not Bearer")
	}
	return g, nil
}

// isSecret reports whether a text can be a bearer token: printable ASCII without blanks (RFC 6750,
// section 2.1). Anything else would break the header that it is put into.
func isSecret(s string) bool {
	return s != "" && len(s) <= maxSecret && !strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c > '~' })
}

// parseRefusal reads the error answer of RFC 6749, section 5.2. ok is false if
// the body is none. The description is left alone: nobody knows what a server
// writes into it.
func parseRefusal(body []byte) (code string, ok bool) {
	members, err := membersOf(body)
	if err != nil {
		return "", false
	}
	code = text(members, "error", &err)
	if err != nil || code == "" || len(code) > 40 {
		return "", false
	}
	if strings.ContainsFunc(code, func(c rune) bool { return c != '_' && (c < 'a' || c > 'z') }) {
		return "", false
	}
	return code, true
}

// membersOf reads a JSON object.
func membersOf(body []byte) (map[string]json.RawMessage, error) {
	var members map[string]json.RawMessage
	if json.Unmarshal(body, &members) != nil || members == nil {
		return nil, errors.New("it is no JSON object")
	}
	return members, nil
}

// text gives a member that is a string; one that is missing or null is "". For any other it sets err,
// unless that is set already.
func text(members map[string]json.RawMessage, name string, err *error) (s string) {
	if raw := members[name]; len(raw) > 0 && json.Unmarshal(raw, &s) != nil && *err == nil {
		*err = fmt.Errorf("its %s is no text", name)
	}
	return s
}

// lifetimeOf reads expires_in: seconds, as a number or, as some servers write
// it, as a number in quotes.
func lifetimeOf(raw json.RawMessage) (time.Duration, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return defaultLifetime, nil
	}
	seconds, err := strconv.ParseFloat(strings.Trim(string(raw), `"`), 64)
	switch {
	case err != nil && !errors.Is(err, strconv.ErrRange), seconds != seconds:
		return 0, errors.New("its expires_in is no number of seconds")
	case seconds >= maxLifetime.Seconds():
		return maxLifetime, nil
	case seconds < 1: // it would be asked for anew for every caller
		return 0, errors.New("its expires_in says that the token has expired already")
	}
	return time.Duration(seconds * float64(time.Second)), nil
}

// longestWait bounds a Retry-After: something on the way that announces an hour
// may be over in a minute, and a request every five minutes hurts nobody.
const longestWait = 5 * time.Minute

// retryAfter is the answer's Retry-After, bounded by longestWait.
func retryAfter(h http.Header, now time.Time) time.Duration {
	return min(wire.RetryAfter(h, now), longestWait)
}
