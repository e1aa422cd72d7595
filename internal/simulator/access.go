package simulator

import (
	"net/http"
	"slices"
	"strings"

	"ebox-gateway/internal/enterprise"
	"ebox-gateway/internal/problem"
)

// onBehalfOf names the represented enterprise on the e-Box APIs.
const onBehalfOf = "On-Behalf-Of-Enterprise-Number"

// authorize checks the bearer token (RFC 6750): known, not expired, with one of
// the scopes that open the endpoint, and with none of another API.
func (c *call) authorize(scopes []string) response {
	raw, ok := bearer(c.r)
	if !ok {
		return c.unauthorized("", "noAccessToken", "No Access Token",
			"Send one access token in the header Authorization, as a Bearer.")
	}
	t := c.s.tokens[raw]
	switch {
	case t == nil:
		return c.unauthorized("invalid_token", "invalidAccessToken", "Invalid Access Token",
			"The access token is not known here. Get a new one.")
	case !c.s.now().Before(t.expires):
		return c.unauthorized("invalid_token", "expiredAccessToken", "Expired Access Token",
			"The access token has expired. Get a new one.")
	}
	c.token = t
	if !slices.ContainsFunc(t.scopes, func(s string) bool { return slices.Contains(scopes, s) }) {
		return c.missingScope(scopes, "The access token has no scope for this operation. Ask the Authorization Server for "+
			"one of: "+strings.Join(scopes, " ")+".")
	}
	for _, s := range t.scopes {
		if !slices.Contains(c.api.scopes, s) {
			return c.missingScope(scopes, "The access token carries a scope that is not meant for this API: "+s+
				". Ask for the scopes of this API alone.")
		}
	}
	return nil
}

// bearer gives the token of the one Authorization header.
func bearer(r *http.Request) (string, bool) {
	fields := r.Header.Values("Authorization")
	if len(fields) != 1 {
		return "", false
	}
	scheme, token, ok := strings.Cut(fields[0], " ")
	return token, ok && strings.EqualFold(scheme, "Bearer") && token != "" && !strings.ContainsAny(token, " ,")
}

func (c *call) unauthorized(code, name, title, detail string) response {
	challenge := `Bearer realm="simulator"`
	if code != "" {
		challenge += `, error="` + code + `"`
	}
	c.w.Header().Set("WWW-Authenticate", challenge)
	return c.fail(refuse(http.StatusUnauthorized, name, title, detail))
}

func (c *call) missingScope(scopes []string, detail string) response {
	c.w.Header().Set("WWW-Authenticate", `Bearer realm="simulator", error="insufficient_scope", scope="`+
		strings.Join(scopes, " ")+`"`)
	p := refuse(http.StatusForbidden, "missingScope", "Missing Scope", detail)
	return c.fail(p.With("requiredScopes", scopes))
}

// represent finds whose e-Box the call is about: the enterprise of the header, in
// exactly ten digits and with a mandate, or the client's own without it.
func (c *call) represent() response {
	own := c.token.client.Enterprise
	fields := c.r.Header.Values(onBehalfOf)
	if len(fields) == 0 {
		if own == 0 {
			return c.fail(problem.Forbidden("The client has no e-Box of its own: no enterprise number is registered for it."))
		}
		c.enterprise = own
		return nil
	}
	n, refusal := c.number("header", onBehalfOf, strings.Join(fields, ", "))
	if refusal != nil {
		return refusal
	}
	return c.representFor(n)
}

// representFor has the call be for an enterprise, if it is the client's own or has given
// it a mandate.
func (c *call) representFor(n enterprise.Number) response {
	if own := c.token.client.Enterprise; n != own {
		if why := c.s.refusal(n, own, MandateEbox); why != "" {
			return c.fail(problem.Forbidden(why))
		}
	}
	c.enterprise = n
	return nil
}

// number reads a number in exactly ten digits.
func (c *call) number(in, name, text string) (enterprise.Number, response) {
	n, err := enterprise.Parse(text)
	if err == nil && n.String() == text {
		return n, nil
	}
	return 0, c.fail(problem.BadRequest("The enterprise number in the "+in+" is not valid.", problem.Issue{
		Type: problem.IssueInvalidInput, In: in, Name: name, Value: text,
		Detail: "expected once, as ten digits with valid check digits",
	}))
}
