package simulator

import "ebox-gateway/internal/enterprise"

// Draft is a message to put into an e-Box from outside the API.
type Draft struct {
	// Subject is used in all three languages; empty names the enterprise.
	Subject string
	// Sizes are of its attachments, in bytes; the first is the main content.
	Sizes []int64
	// Body gives it a body; without attachments that is the main content.
	Body string
}

// AddMessage puts a new message into the e-Box of an enterprise at a provider and
// returns its id. Its attachments have the ids "1", "2", … and any size: their
// bytes are generated while they are sent.
func (s *Simulator) AddMessage(provider string, e enterprise.Number, d Draft) (string, error) {
	return s.addMessage(provider, e, d)
}
