package simulator

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"ebox-gateway/internal/enterprise"
)

// The scopes that the Authorization Server knows.
const (
	consult = "scope:document:management:consult:ws-eboxrestentreprise:"

	ScopeDocumentConsumer = consult + "documentconsumer"
	ScopeSummaryOwnEbox   = consult + "summaryownebox"
	ScopeMessagesFull     = consult + "messagesfull"
	ScopeReferenceData    = consult + "referencedata"
	// ScopePublicationSender is for publishing for oneself, the other two, which are the
	// two spellings of one page, for publishing for another enterprise.
	ScopePublicationSender         = consult + "publicationsender"
	ScopeRepresentativePublication = consult + "eboxrepresentativepublication"
	ScopeRepresentativeElsewhere   = "scope:document:management:ws-eboxrestentreprise:eboxrepresentativepublication"

	ScopeRegistry        = "scope:documentmanagement:ebox:enterprise:federation-rest:registry"
	ScopePreference      = "scope:documentmanagement:ebox:enterprise:federation-rest:preference"
	ScopeCitizenMandates = "scope:ksz-bcss:mandates:citizen:management:-managemandate"
)

var allScopes = []string{
	ScopeDocumentConsumer, ScopeSummaryOwnEbox, ScopeMessagesFull, ScopeReferenceData,
	ScopePublicationSender, ScopeRepresentativePublication, ScopeRepresentativeElsewhere,
	ScopeRegistry, ScopePreference, ScopeCitizenMandates,
}

// Client is an OAuth client as an office registers it in Chaman.
type Client struct {
	// ID is the client id, the iss and sub of its assertions.
	ID string
	// Certificate is the registered X.509 certificate. An expired one is refused.
	Certificate *x509.Certificate
	// Renewed are certificates that are registered besides it, as while one is renewed.
	Renewed []*x509.Certificate `json:"-"`
	// Enterprise is the office itself: whose e-Box a call without the
	// on-behalf-of header is for, and who is mandatary of its own citizen mandates.
	Enterprise enterprise.Number
	// Scopes are those activated for the client. Empty: all there are.
	Scopes []string
	// CitizenTermsRefused says that the office has not accepted the terms of use of
	// citizen mandates: the Authorization Server then refuses that scope.
	CitizenTermsRefused bool
}

// certificates are those of which any may sign the client's assertions.
func (c *Client) certificates() []*x509.Certificate {
	return append([]*x509.Certificate{c.Certificate}, c.Renewed...)
}

// RegisterClient registers a client, or replaces the one with its id, so that
// assertions of its former key are refused from now on.
func (s *Simulator) RegisterClient(c Client) error {
	if c.ID == "" {
		return errors.New("registering a client: it needs an id")
	}
	if c.Certificate == nil {
		return fmt.Errorf("registering client %s: give it a certificate", c.ID)
	}
	for _, certificate := range c.certificates() {
		switch key := certificate.PublicKey.(type) {
		case *rsa.PublicKey:
			if key.N.BitLen() < 2048 {
				return fmt.Errorf("registering client %s: its RSA key has %d bits, use at least 2048", c.ID, key.N.BitLen())
			}
		case *ecdsa.PublicKey:
		default:
			return fmt.Errorf("registering client %s: give it a certificate of kind RSA or EC", c.ID)
		}
	}
	if len(c.Scopes) == 0 {
		c.Scopes = allScopes
	}
	for _, scope := range c.Scopes {
		if !slices.Contains(allScopes, scope) {
			return fmt.Errorf("registering client %s: no API has the scope %q", c.ID, scope)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clients[c.ID] = c
	return nil
}

// UnregisterClient removes a client and every token it has.
func (s *Simulator) UnregisterClient(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.clients, id)
	maps.DeleteFunc(s.tokens, func(_ string, t *issued) bool { return t.client.ID == id })
}

// SetTokenLifetime sets how long tokens issued from now on are valid.
func (s *Simulator) SetTokenLifetime(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lifetime = d
}

// RevokeTokens makes every token issued so far unknown and returns how many were.
func (s *Simulator) RevokeTokens() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.tokens)
	clear(s.tokens)
	return n
}

// TokensIssued counts the tokens issued since Start.
func (s *Simulator) TokensIssued() (total int) {
	for _, n := range s.TokensIssuedFor() {
		total += n
	}
	return total
}

// TokensIssuedFor counts them by client id and scopes, parted by blanks.
func (s *Simulator) TokensIssuedFor() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.issued)
}
