package multiparts

import (
	"mime"
	"slices"
	"strings"

	"ebox-gateway/internal/problem"
	"ebox-gateway/internal/wire"
)

// longestBoundary is RFC 2046's limit, section 5.1.1.
const longestBoundary = 70

// Boundary gives the boundary that the Content-Type of a multipart body names. It refuses
// what some server could read as another one. The error is a *problem.Problem, 400.
func Boundary(contentType []string) (string, error) {
	bad := func(detail string) error {
		return problem.BadRequest("The boundary of the multipart body is not certain. Correct the header and send the "+
			"request again.",
			problem.Issue{Type: problem.IssueSchemaViolation, In: "header", Name: "Content-Type", Detail: detail})
	}
	if len(contentType) != 1 {
		return "", bad("the header has to stand there once")
	}
	field := contentType[0]
	_, params, err := mime.ParseMediaType(field)
	b, lower := params["boundary"], strings.ToLower(field)
	// A server that looks for the parameter by its letters has to find the same one.
	words := strings.Count(lower, "boundary") - strings.Count(strings.ToLower(b), "boundary")
	if err != nil || words != 1 || strings.Count(lower, "boundary=") != 1 || strings.ContainsAny(field, `\*`) {
		return "", bad("name one boundary, as in multipart/form-data; boundary=Qv8sT2")
	}
	if b == "" || len(b) > longestBoundary || strings.Trim(b, "-") == "" || strings.ContainsFunc(b, uncommon) {
		return "", bad("a boundary has at most 70 letters and digits, and signs out of + - . / : = _")
	}
	return b, nil
}

// uncommon reports whether servers treat a sign in different ways in a boundary.
func uncommon(r rune) bool {
	return !(r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || strings.ContainsRune("+-./:=_", r))
}

// parseHeader reads the header of a part, with the empty line at its end: the name of the part, and
// whether it is said to be JSON.
func parseHeader(b []byte) (part Part, err error) {
	seen := make(map[string]bool)
	for line := range strings.SplitSeq(strings.TrimSuffix(string(b), "\r\n"), "\r\n") {
		if line == "" {
			continue // there is no field
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || !wire.IsToken(name) || !wire.IsValue(value) {
			return part, refuse("a line of a part's header is no field, ends without CRLF, or is folded")
		}
		name, value = strings.ToLower(name), strings.Trim(value, " \t")
		if seen[name] && strings.HasPrefix(name, "content-") {
			return part, refuse("a part has the header " + name + " twice")
		}
		seen[name] = true
		if err := part.field(name, value); err != nil {
			return part, err
		}
	}
	return part, nil
}

// field reads one field of a part's header.
func (p *Part) field(name, value string) error {
	lower := strings.ToLower(value)
	switch name {
	case "content-disposition":
		_, params, err := mime.ParseMediaType(value)
		// name* (RFC 8187) and encoded words (RFC 2047) are decoded by some servers alone.
		if err != nil || strings.Count(lower, "name*") != strings.Count(lower, "filename*") ||
			strings.Contains(params["name"], "=?") {
			return refuse(`write Content-Disposition as form-data; name="…"; filename="…"`)
		}
		p.Name = params["name"]
	case "content-type":
		if strings.Contains(lower, "multipart/") {
			return refuse("a part is multipart itself")
		}
		p.JSON = strings.Contains(lower, "json")
		if strings.Contains(lower, "charset") {
			_, params, err := mime.ParseMediaType(value)
			if err != nil || !readable(strings.ToLower(params["charset"]), p.JSON) {
				return refuse("a part is in a charset that is not read here: send it in UTF-8")
			}
		}
	case "content-transfer-encoding":
		if lower != "7bit" && lower != "8bit" && lower != "binary" {
			return refuse("a part has a Content-Transfer-Encoding: send its bytes as they are")
		}
	case "content-encoding":
		if lower != "" && lower != "identity" {
			return refuse("a part has a content coding: send its bytes as they are")
		}
	}
	return nil
}

// readable reports whether JSON in a charset begins as it does in UTF-8, or is seen to begin all
// the same. What is said to be JSON has to be UTF-8.
func readable(charset string, json bool) bool {
	if charset == "utf-8" || charset == "us-ascii" {
		return true
	}
	return !json && slices.ContainsFunc([]string{"iso-8859-", "windows-125", "utf-16", "utf-32"},
		func(family string) bool { return strings.HasPrefix(charset, family) })
}
