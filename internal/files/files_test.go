package files_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"ebox-gateway/internal/files"
	"ebox-gateway/internal/testkit"
)

func TestReadGivesTheContentOfAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	testkit.Write(t, path, "\xef\xbb\xbftext")
	if got, err := files.Read(path, files.Most); err != nil || string(got) != "\xef\xbb\xbftext" {
		t.Errorf("Read: %q, %v", got, err)
	}
	if got, err := files.Text(path, files.Most); err != nil || string(got) != "text" {
		t.Errorf("Text: %q, %v", got, err)
	}
	if _, err := files.Read(path, 6); err == nil || !strings.Contains(err.Error(), "more than 6 bytes") {
		t.Errorf("a file beyond the limit: %v", err)
	}
	if _, err := files.Read(path+"b", files.Most); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}

// Nobody writes to the FIFO and nobody ever will: opening it would last for ever.
func TestWhatIsNoRegularFileIsNotWaitedFor(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	testkit.Must(t, syscall.Mkfifo(fifo, 0o600))
	link := fifo + ".link"
	testkit.Must(t, os.Symlink(fifo, link))
	for _, path := range []string{fifo, link, "/dev/zero", t.TempDir()} {
		if _, err := files.Read(path, files.Most); err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestUTF16IsNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	for _, content := range []string{"\xff\xfea\x00", "\xfe\xff\x00a"} {
		testkit.Write(t, path, content)
		if _, err := files.Text(path, files.Most); err == nil || !strings.Contains(err.Error(), "UTF-16") {
			t.Errorf("%q: %v", content, err)
		}
	}
}
