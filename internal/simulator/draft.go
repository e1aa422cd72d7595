package simulator

import (
	"fmt"

	"ebox-gateway/internal/enterprise"
)

// Draft is a message to put into an e-Box from outside the API.
type Draft struct {
	// Subject is used in all three languages; empty names the enterprise.
	Subject string
	// Sizes are of its attachments, in bytes; the first is the main content.
	Sizes []int64
}

// AddMessage puts a new message into the e-Box of an enterprise at a provider and
// returns its id. Its attachments have the ids "1", "2", … and any size: their
// bytes are generated while they are sent.
func (s *Simulator) AddMessage(provider string, e enterprise.Number, d Draft) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.registries[provider]
	if m == nil {
		return "", fmt.Errorf("adding a message: the simulator serves no provider %q", provider)
	}
	msg := m.newMessage(e, m.nextID(), s.now())
	if d.Subject != "" {
		msg.Subject = inAll(d.Subject)
	}
	for i, size := range d.Sizes {
		if size < 0 {
			return "", fmt.Errorf("adding a message: attachment %d has a size below zero", i+1)
		}
		msg.attachments = append(msg.attachments, m.generated(e, msg.ID, i+1, size))
	}
	m.put(e, msg)
	return msg.ID, nil
}

func inAll(text string) translated { return translated{"nl": text, "fr": text, "de": text} }
