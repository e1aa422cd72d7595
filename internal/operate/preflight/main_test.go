package preflight_test

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"ebox-gateway/internal/demo"
	"ebox-gateway/internal/simulator"
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

// identity is a key with a self-signed certificate that ends at a time.
func identity(t *testing.T, name string, end time.Time) *simulator.Identity {
	t.Helper()
	id, err := simulator.SelfSigned(name, end.AddDate(-1, 0, 0))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// keyPEM is the private key of an identity.
func keyPEM(t *testing.T, id *simulator.Identity) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(id.Key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// certificatePEM is the certificate of an identity.
func certificatePEM(id *simulator.Identity) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: id.Certificate.Raw})
}

// write makes files in a folder.
func write(t *testing.T, dir string, contents map[string][]byte) {
	t.Helper()
	for name, content := range contents {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// nobody is an address of this machine where nobody listens, and where no other test
// gets a port of its own.
const nobody = "127.9.8.7:9"
