// Inside, since keys that stay in memory are not seen from outside.

package gateway

import (
	"context"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"ebox-gateway/internal/config"
	"ebox-gateway/internal/listen"
	"ebox-gateway/internal/testkit"
)

// Certificates change every few months, or hours: the keys before must not stay in memory.
func TestKeysThatNoListenerHasAnyMoreAreForgotten(t *testing.T) {
	newServer := func() *listen.Server {
		s := listen.New(listen.Options{Handler: http.NotFoundHandler(), NewID: func() string { return "" },
			Log: slog.New(slog.DiscardHandler)})
		t.Cleanup(func() {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			_ = s.Shutdown(ctx) // it says what was open
		})
		return s
	}
	g := &Gateway{internal: newServer(), admin: newServer()}
	g.certificates.Store(new(certificates))
	const dir = "../authn/testdata/"
	files := map[string]*config.TLS{
		"rsa":           {CertFile: dir + "rsa-cert.pem", KeyFile: dir + "rsa-pkcs1.pem"},
		"ec":            {CertFile: dir + "ec-cert.pem", KeyFile: dir + "ec-sec1.pem"},
		"ec and theirs": {CertFile: dir + "ec-cert.pem", KeyFile: dir + "ec-sec1.pem", ClientAuth: config.ClientAuthRequest},
	}
	use := func(names ...string) {
		cfg := new(config.Config)
		for _, name := range names {
			cfg.Server.Listen = append(cfg.Server.Listen, config.Listener{Name: name, Address: "127.0.0.1:0", TLS: files[name]})
		}
		cfg.Server.Drain.Timeout = time.Second
		change, err := g.prepareListeners(cfg)
		testkit.Must(t, err)
		change.commit()
		if len(g.certificates.Load().made) != len(names) {
			t.Errorf("with %v, %d keys are kept", names, len(g.certificates.Load().made))
		}
	}
	use("rsa", "ec")
	kept := g.certificates.Load().made
	use("rsa", "ec")
	for sum, made := range g.certificates.Load().made {
		if kept[sum] != made {
			t.Error("a listener that did not change gets another TLS configuration")
		}
	}
	use("ec", "ec and theirs")
	use()
}
