package tenancy

import (
	"cmp"
	"errors"
	"mime"
	"strings"

	"ebox-gateway/internal/jsonscan"
	"ebox-gateway/internal/problem"
)

// NamedInBody reads what a whole body says of the represented enterprise. An empty
// body says nothing. contentType and contentEncoding are the values of these
// headers; a request that has one of them more than once hands them over joined by
// commas, and is refused.
//
// The error is a *problem.Problem, 400, for every body that upstream and gateway
// might read differently: one with a content coding, of another media type than
// JSON or in another charset than UTF-8 (a form may be valid JSON at the same
// time), one that jsonscan.Read refuses, with a name that matters here twice in one
// object, compared after folding, or a JSON Patch (RFC 6902) that would write the
// represented enterprise.
func NamedInBody(body []byte, contentType, contentEncoding string) (Named, error) {
	if len(body) == 0 {
		contentType = ""
	}
	if err := CheckMedia(contentType, contentEncoding); err != nil || len(body) == 0 {
		return Named{}, err
	}
	var v bodyVisitor
	err := cmp.Or(jsonscan.Read(body, &v), v.err)
	if fault := (*jsonscan.Fault)(nil); errors.As(err, &fault) {
		err = brokenBody("body", fault.At, fault.Detail)
	}
	if err != nil {
		return Named{}, err
	}
	return v.named, nil
}

// CheckMedia refuses a body that is not said to be JSON in UTF-8 without a content coding;
// one without a media type counts as JSON. The headers' values are as for NamedInBody, and
// so is the error.
func CheckMedia(contentType, contentEncoding string) error {
	if coding := strings.Trim(contentEncoding, " \t"); coding != "" && !strings.EqualFold(coding, "identity") {
		return brokenBody("header", "Content-Encoding", "send the body without a content coding")
	}
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

// isJSON reports whether every reader takes a media type for JSON.
func isJSON(t string) bool {
	name, ok := strings.CutPrefix(t, "application/")
	return ok && (name == "json" || strings.HasSuffix(name, "+json"))
}

func brokenBody(in, name, detail string) error {
	return problem.BadRequest("The body cannot be read, so that the enterprise it is for is not known. Correct it and "+
		"send the request again.",
		problem.Issue{Type: problem.IssueSchemaViolation, In: in, Name: name, Detail: detail})
}

// bodyVisitor collects what a JSON text says of the represented enterprise. Arrays and
// objects are depths; of each depth it knows what is open there.
type bodyVisitor struct {
	named Named
	open  [jsonscan.Depths]opened
	err   error // of a member
}

// opened is the member or element that is read at a depth.
type opened struct {
	// key is the exact name, empty for an element.
	key string
	// inside is true under a name that means the represented enterprise.
	inside bool
	// seen are the meanings that the object at this depth has a member for.
	seen [meansCreate + 1]bool
}

// Member implements jsonscan.Visitor.
func (v *bodyVisitor) Member(depth int, key []byte) {
	v.named.Content = true
	if depth+1 < len(v.open) {
		v.open[depth+1].seen = [meansCreate + 1]bool{} // an object that begins here is another
	}
	at, name := &v.open[depth], string(key)
	m, whole := meaningOf(name)
	if whole && at.seen[m] && v.err == nil {
		v.err = &jsonscan.Fault{Detail: "a key is repeated within its object, as " + problem.Clip(name)}
	}
	at.seen[m] = at.seen[m] || whole
	at.key = name
	at.inside = v.open[depth-1].inside || m.represents()
}

// Scalar implements jsonscan.Visitor.
func (v *bodyVisitor) Scalar(depth int, raw []byte, at func() string) error {
	v.named.Content = true
	if depth == 1 && v.open[1].key == createWithRepresentative {
		v.named.CreateWithRepresentative = raw[0] == 't'
	}
	// A string that is a JSON pointer to the represented enterprise is the path of a JSON
	// Patch, which says in another member what to write there.
	quoted, inside := raw[0] == '"', v.open[depth].inside
	mayPoint := quoted && (raw[1] == '/' || raw[1] == '\\')
	if !inside && !mayPoint {
		return nil
	}
	value := string(raw)
	if quoted {
		value = jsonscan.Text(raw)
	}
	if mayPoint && strings.HasPrefix(value, "/") {
		if m, _ := meaningOf(value); m.represents() {
			return brokenBody("body", at(), "a JSON Patch of the represented enterprise is not understood here: send "+
				"a merge patch (RFC 7396)")
		}
	}
	if !inside || value == "null" && !quoted {
		return nil
	}
	text := v.named.note(value)
	exact := v.open[1].key == representedNumber || v.open[1].key == representedName
	v.named.Direct = v.named.Direct || text && exact
	return nil
}
