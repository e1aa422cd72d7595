package tenancy

import (
	"bytes"
	"encoding/json"
	"errors"
	"mime"
	"strconv"
	"strings"
	"unicode/utf8"

	"ebox-gateway/internal/problem"
)

// deepest is how many objects and arrays of a body may stand in one another.
const deepest = 64

// NamedInBody reads what a whole body says of the represented enterprise. An empty
// body says nothing. contentType and contentEncoding are the values of these
// headers; a request that has one of them more than once hands them over joined by
// commas, and is refused.
//
// The error is a *problem.Problem, 400, for every body that upstream and gateway
// might read differently: one with a content coding, of another media type than
// JSON or in another charset than UTF-8 (a form may be valid JSON at the same
// time), with a byte order mark, invalid UTF-8 or invalid JSON (RFC 8259), with a
// key that is repeated within its object, compared after unescaping and for the
// names that matter here also after folding, nested deeper than 64, or a JSON
// Patch (RFC 6902) that would write the represented enterprise.
func NamedInBody(body []byte, contentType, contentEncoding string) (Named, error) {
	if coding := strings.Trim(contentEncoding, " \t"); coding != "" && !strings.EqualFold(coding, "identity") {
		return Named{}, brokenBody("header", "Content-Encoding", "send the body without a content coding")
	}
	if len(body) == 0 {
		return Named{}, nil
	}
	if err := checkMediaType(contentType); err != nil {
		return Named{}, err
	}
	switch {
	case bytes.HasPrefix(body, []byte("\ufeff")):
		return Named{}, brokenBody("body", "", "it begins with a byte order mark: send the JSON without one")
	case !utf8.Valid(body):
		return Named{}, brokenBody("body", "", "it is not valid UTF-8")
	}
	var whole json.RawMessage
	if err := json.Unmarshal(body, &whole); err != nil {
		return Named{}, brokenBody("body", "", "it is not valid JSON"+offset(err))
	}
	s := bodyScan{rest: body}
	s.named.Content = true
	if _, err := s.value(false); err != nil {
		return Named{}, err
	}
	return s.named, nil
}

func checkMediaType(contentType string) error {
	if contentType == "" {
		return nil
	}
	t, params, err := mime.ParseMediaType(contentType)
	if err != nil || t != "application/json" && t != "text/json" && !(strings.HasPrefix(t, "application/") && strings.HasSuffix(t, "+json")) {
		return brokenBody("header", "Content-Type", "send JSON, as application/json")
	}
	if charset, given := params["charset"]; given && !strings.EqualFold(charset, "utf-8") && !strings.EqualFold(charset, "us-ascii") {
		return brokenBody("header", "Content-Type", "send JSON in UTF-8, which needs no charset")
	}
	return nil
}

func brokenBody(in, name, detail string) error {
	return problem.BadRequest("The body cannot be read, so that the enterprise it is for is not known. Correct it and send the request again.",
		problem.Issue{Type: problem.IssueSchemaViolation, In: in, Name: name, Detail: detail})
}

// offset says where a syntax error is. Its text is left out: it quotes the body.
func offset(err error) string {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return " at byte " + strconv.FormatInt(syntax.Offset, 10)
	}
	return ""
}

// bodyScan walks a JSON text that is known to be valid.
type bodyScan struct {
	rest  []byte
	named Named
	// at is the path of keys and indexes to the value at hand.
	at []string
}

// value walks one value. inside is true under a name that means the represented
// enterprise. text tells whether the value holds any.
func (s *bodyScan) value(inside bool) (text bool, err error) {
	if len(s.at) > deepest {
		return false, brokenBody("body", "", "it is nested deeper than "+strconv.Itoa(deepest))
	}
	s.blanks()
	switch s.rest[0] {
	case '{':
		return s.object(inside)
	case '[':
		return s.array(inside)
	case '"':
		return s.string(inside)
	default:
		return s.literal(inside)
	}
}

func (s *bodyScan) object(inside bool) (text bool, err error) {
	outermost := len(s.at) == 0
	keys := make(map[string]struct{})
	var seen [meansCreate + 1]bool
	s.rest = s.rest[1:]
	for s.blanks(); s.rest[0] != '}'; s.blanks() {
		if s.rest[0] == ',' {
			s.rest = s.rest[1:]
			s.blanks()
		}
		key := s.quoted()
		m, whole := meaningOf(key)
		if _, repeated := keys[key]; repeated || whole && seen[m] {
			return false, brokenBody("body", s.pointer(key), "the key is repeated within its object")
		}
		keys[key] = struct{}{}
		if whole {
			seen[m] = true
		}
		s.blanks()
		s.rest = s.rest[1:] // the colon
		s.blanks()
		if outermost && key == createWithRepresentative {
			s.named.CreateWithRepresentative = s.rest[0] == 't'
		}
		represented := m == meansNumber || m == meansEnterprise
		s.at = append(s.at, key)
		holds, err := s.value(inside || represented)
		if err != nil {
			return false, err
		}
		s.at = s.at[:len(s.at)-1]
		text = text || holds
		if outermost && holds && (key == representedNumber || key == representedName) {
			s.named.Direct = true
		}
	}
	if outermost && len(keys) == 0 {
		s.named.Content = false
	}
	s.rest = s.rest[1:]
	return text, nil
}

func (s *bodyScan) array(inside bool) (text bool, err error) {
	s.rest = s.rest[1:]
	i := 0
	for s.blanks(); s.rest[0] != ']'; s.blanks() {
		if s.rest[0] == ',' {
			s.rest = s.rest[1:]
		}
		s.at = append(s.at, strconv.Itoa(i))
		holds, err := s.value(inside)
		if err != nil {
			return false, err
		}
		s.at = s.at[:len(s.at)-1]
		text = text || holds
		i++
	}
	if len(s.at) == 0 && i == 0 {
		s.named.Content = false
	}
	s.rest = s.rest[1:]
	return text, nil
}

func (s *bodyScan) string(inside bool) (text bool, err error) {
	// A string that is a JSON pointer to the represented enterprise is the path
	// of a JSON Patch, which says in another member what to write there.
	mayPoint := s.rest[1] == '/' || s.rest[1] == '\\'
	if !inside && !mayPoint {
		s.skipString()
		return false, nil
	}
	value := s.quoted()
	if mayPoint && strings.HasPrefix(value, "/") {
		if m, _ := meaningOf(value); m == meansNumber || m == meansEnterprise {
			return false, brokenBody("body", s.pointer(""), "a JSON Patch of the represented enterprise is not understood here: send a merge patch (RFC 7396)")
		}
	}
	if !inside {
		return false, nil
	}
	text, ok := s.named.note(value)
	if !ok {
		return false, tooManyNumbers("body")
	}
	return text, nil
}

// literal walks a number, true, false or null.
func (s *bodyScan) literal(inside bool) (text bool, err error) {
	end := 0
	for end < len(s.rest) && bytes.IndexByte([]byte(" \t\r\n,]}"), s.rest[end]) < 0 {
		end++
	}
	literal := s.rest[:end]
	s.rest = s.rest[end:]
	if !inside || literal[0] == 'n' {
		return false, nil
	}
	if !s.named.noteLiteral(string(literal)) {
		return false, tooManyNumbers("body")
	}
	return true, nil
}

// blanks skips JSON's white space.
func (s *bodyScan) blanks() {
	for len(s.rest) > 0 && (s.rest[0] == ' ' || s.rest[0] == '\t' || s.rest[0] == '\r' || s.rest[0] == '\n') {
		s.rest = s.rest[1:]
	}
}

// skipString moves behind the string at hand and returns it with its quotes.
func (s *bodyScan) skipString() []byte {
	end := 1
	for s.rest[end] != '"' {
		if s.rest[end] == '\\' {
			end++
		}
		end++
	}
	raw := s.rest[:end+1]
	s.rest = s.rest[end+1:]
	return raw
}

// quoted reads the string at hand, unescaped.
func (s *bodyScan) quoted() string {
	raw := s.skipString()
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw[1 : len(raw)-1])
	}
	var text string
	_ = json.Unmarshal(raw, &text) // valid, as the whole is
	return text
}

// pointer is the JSON pointer (RFC 6901) of the value at hand, or of its member.
func (s *bodyScan) pointer(member string) string {
	path := s.at
	if member != "" {
		path = append(path[:len(path):len(path)], member)
	}
	var b strings.Builder
	for _, key := range path {
		b.WriteByte('/')
		b.WriteString(strings.NewReplacer("~", "~0", "/", "~1").Replace(clip(key)))
	}
	return b.String()
}
