package gateway

import (
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"time"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/listen"
)

// certificates are those of the listeners in force.
type certificates struct {
	// made are the TLS configurations by what they were made of, so that a listener whose
	// files did not change is left alone by a reload.
	made map[[sha256.Size]byte]*tls.Config
	// expiry is when the certificates expire, by listener.
	expiry map[string]time.Time
}

// listenersChange is every listener of a configuration, opened and ready to serve. Nothing
// of the listeners in force has changed before it is committed.
type listenersChange struct {
	g               *Gateway
	admin, internal *listen.Change
	certificates    certificates
}

// prepareListeners opens what a configuration listens on. The result must be committed.
func (g *Gateway) prepareListeners(cfg *config.Config) (*listenersChange, error) {
	c := &listenersChange{g: g, certificates: certificates{
		made: make(map[[sha256.Size]byte]*tls.Config), expiry: make(map[string]time.Time),
	}}
	internal, err := c.listeners(cfg.Server.Listen)
	if err != nil {
		return nil, err
	}
	administration, err := c.listeners(cfg.Admin.Listen)
	if err != nil {
		return nil, err
	}
	limits, grace := cfg.Server.Limits, cfg.Server.Drain.Timeout
	if c.admin, err = g.admin.Prepare(administration, limits, grace); err != nil {
		return nil, fmt.Errorf("opening the admin listener: %w", err)
	}
	if c.internal, err = g.internal.Prepare(internal, limits, grace); err != nil {
		c.admin.Discard()
		return nil, fmt.Errorf("opening the internal endpoint: %w", err)
	}
	return c, nil
}

// commit puts the listeners in force. Keys of TLS that no listener has any more are
// forgotten.
func (c *listenersChange) commit() {
	c.admin.Commit()
	c.internal.Commit()
	c.g.certificates.Store(&c.certificates)
}

// listeners makes the listeners of a list.
func (c *listenersChange) listeners(list config.Listeners) ([]listen.Listener, error) {
	result := make([]listen.Listener, 0, len(list))
	for _, l := range list {
		made := listen.Listener{Name: l.Name, Address: l.Address}
		if l.TLS != nil {
			t, sum, err := listen.LoadTLS(*l.TLS)
			if err != nil {
				return nil, fmt.Errorf("preparing TLS of listener %s: %w", l.Name, err)
			}
			for _, known := range []*certificates{c.g.certificates.Load(), &c.certificates} {
				if made, ok := known.made[sum]; ok {
					t = made
				}
			}
			made.TLS, c.certificates.made[sum] = t, t
			if leaf := t.Certificates[0].Leaf; leaf != nil {
				c.certificates.expiry[l.Name] = leaf.NotAfter
			}
		}
		result = append(result, made)
	}
	return result, nil
}
