package preflight_test

import (
	"crypto/x509"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"ebox-gateway/internal/demo"
	"ebox-gateway/internal/simulator"
	"ebox-gateway/internal/testkit"
)

// client is made once: keys are slow to make. Its files are in clientDir.
var (
	client    simulator.Client
	clientDir string
)

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "preflight-test-")
	if err == nil {
		client, err = demo.NewClient(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	clientDir = dir
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// edit changes the text of the configuration: replace old by new, which must be there.
func edit(old, new string) func(*testing.T, string) string {
	return func(t *testing.T, text string) string {
		t.Helper()
		if !strings.Contains(text, old) {
			t.Fatalf("the configuration does not hold %q:\n%s", old, text)
		}
		return strings.Replace(text, old, new, 1)
	}
}

// add appends lines to the configuration.
func add(lines string) func(*testing.T, string) string {
	return func(_ *testing.T, text string) string { return text + lines }
}

// certificate makes a key and a self-signed certificate for 127.0.0.1 as files.
func certificate(t *testing.T, name string) (certFile, keyFile string) {
	t.Helper()
	return testkit.NewCertificate(t, func(c *x509.Certificate) {
		c.Subject.CommonName = name
		c.DNSNames = nil
		c.NotAfter = time.Now().Add(24 * time.Hour)
	}).Files(t, t.TempDir())
}

// nobody is an address of this machine where nobody listens, and where no other test
// gets a port of its own.
const nobody = "127.9.8.7:9"
