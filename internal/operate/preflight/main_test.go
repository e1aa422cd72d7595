package preflight_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

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
