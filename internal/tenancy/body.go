package tenancy

import (
	"bytes"
	"encoding/json"
	"errors"
	"mime"
	"strconv"
	"strings"
	"unicode/utf8"

	"ebox-gateway/internal/jsonscan"
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
	if err := checkCoding(contentEncoding); err != nil || len(body) == 0 {
		return Named{}, err
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
	var s bodyScan
	s.named.Content = true
	if _, err := s.value(jsonscan.Blanks(body), "", 0, false); err != nil {
		return Named{}, err
	}
	return s.named, nil
}

// CheckMedia refuses a body that is not said to be JSON in UTF-8 without a content coding;
// one without a media type counts as JSON. The headers' values are as for NamedInBody, and
// so is the error.
func CheckMedia(contentType, contentEncoding string) error {
	if err := checkCoding(contentEncoding); err != nil {
		return err
	}
	return checkMediaType(contentType)
}

func checkCoding(contentEncoding string) error {
	if coding := strings.Trim(contentEncoding, " \t"); coding != "" && !strings.EqualFold(coding, "identity") {
		return brokenBody("header", "Content-Encoding", "send the body without a content coding")
	}
	return nil
}

func checkMediaType(contentType string) error {
	if contentType == "" {
		return nil
	}
	t, params, err := mime.ParseMediaType(contentType)
	lower := strings.ToLower(contentType)
	// Servers that look for a form's name anywhere in the field read a form.
	form := strings.Contains(lower, "form-urlencoded") || strings.Contains(lower, "form-data") ||
		strings.Contains(lower, "multipart/")
	if err != nil || form || t != "text/json" && !isJSON(t) {
		return brokenBody("header", "Content-Type", "send JSON, as application/json")
	}
	if charset, given := params["charset"]; given && !strings.EqualFold(charset, "utf-8") &&
		!strings.EqualFold(charset, "us-ascii") {
		return brokenBody("header", "Content-Type", "send JSON in UTF-8, which needs no charset")
	}
	return nil
}

// isJSON tells the media types that every reader takes for JSON.
func isJSON(t string) bool {
	name, ok := strings.CutPrefix(t, "application/")
	return ok && (name == "json" || strings.HasSuffix(name, "+json"))
}

func brokenBody(in, name, detail string) error {
	return problem.BadRequest("The body cannot be read, so that the enterprise it is for is not known. Correct it and "+
		"send the request again.",
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
type bodyScan struct{ named Named }

// value walks one value, at a JSON pointer and so deep. inside is true under a name that
// means the represented enterprise. text tells whether the value holds any.
func (s *bodyScan) value(raw []byte, at string, depth int, inside bool) (text bool, err error) {
	if depth > deepest {
		return false, brokenBody("body", "", "it is nested deeper than "+strconv.Itoa(deepest))
	}
	switch raw[0] {
	case '{':
		return s.object(raw, at, depth, inside)
	case '[':
		return s.array(raw, at, depth, inside)
	case '"':
		return s.string(raw, at, inside)
	default:
		return s.literal(raw, inside)
	}
}

func (s *bodyScan) object(raw []byte, at string, depth int, inside bool) (text bool, err error) {
	keys := make(map[string]struct{})
	var seen [meansCreate + 1]bool
	jsonscan.Members(raw, func(member jsonscan.Member) bool {
		key := string(member.Key)
		m, whole := meaningOf(key)
		if _, repeated := keys[key]; repeated || whole && seen[m] {
			err = brokenBody("body", jsonscan.Pointer(at, key), "the key is repeated within its object")
			return false
		}
		keys[key] = struct{}{}
		if whole {
			seen[m] = true
		}
		if depth == 0 && key == createWithRepresentative {
			s.named.CreateWithRepresentative = member.Value[0] == 't'
		}
		var holds bool
		holds, err = s.value(member.Value, jsonscan.Pointer(at, key), depth+1, inside || m == meansNumber ||
			m == meansEnterprise)
		text = text || holds
		if depth == 0 && holds && (key == representedNumber || key == representedName) {
			s.named.Direct = true
		}
		return err == nil
	})
	if depth == 0 && len(keys) == 0 {
		s.named.Content = false
	}
	return text, err
}

func (s *bodyScan) array(raw []byte, at string, depth int, inside bool) (text bool, err error) {
	i := 0
	jsonscan.Elements(raw, func(e []byte) bool {
		var holds bool
		holds, err = s.value(e, at+"/"+strconv.Itoa(i), depth+1, inside)
		text = text || holds
		i++
		return err == nil
	})
	if depth == 0 && i == 0 {
		s.named.Content = false
	}
	return text, err
}

func (s *bodyScan) string(raw []byte, at string, inside bool) (text bool, err error) {
	// A string that is a JSON pointer to the represented enterprise is the path
	// of a JSON Patch, which says in another member what to write there.
	mayPoint := raw[1] == '/' || raw[1] == '\\'
	if !inside && !mayPoint {
		return false, nil
	}
	value := jsonscan.Text(raw)
	if mayPoint && strings.HasPrefix(value, "/") {
		if m, _ := meaningOf(value); m == meansNumber || m == meansEnterprise {
			return false, brokenBody("body", at, "a JSON Patch of the represented enterprise is not understood here: send "+
				"a merge patch (RFC 7396)")
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
func (s *bodyScan) literal(raw []byte, inside bool) (text bool, err error) {
	if !inside || raw[0] == 'n' {
		return false, nil
	}
	if !s.named.noteLiteral(string(raw)) {
		return false, tooManyNumbers("body")
	}
	return true, nil
}
