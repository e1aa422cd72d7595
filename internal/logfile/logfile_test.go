package logfile_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ebox-gateway/internal/logfile"
	"ebox-gateway/internal/testkit"
)

func open(t *testing.T, path string, most int64, keep int) *logfile.File {
	t.Helper()
	f, err := logfile.Open(path, most, keep)
	testkit.Must(t, err)
	t.Cleanup(func() { _ = f.Close() }) // a test that cares closes it itself
	return f
}

func write(t *testing.T, f *logfile.File, line string) {
	t.Helper()
	_, err := f.Write([]byte(line))
	testkit.Must(t, err)
}

func want(t *testing.T, path, text string) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil || string(got) != text {
		t.Errorf("%s: %v, %q, want %q", filepath.Base(path), err, got, text)
	}
}

func TestSeveralRotatedFilesAreKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "security.log")
	f := open(t, path, 10, 3)
	for _, line := range []string{"one\n", "two\n", "three\n", "four\n", "five\n", "six\n", "seven\n",
		"eight\n", "nine\n"} {
		write(t, f, line)
	}
	want(t, path, "nine\n")
	want(t, path+".1", "eight\n")
	want(t, path+".2", "six\nseven\n")
	want(t, path+".3", "four\nfive\n")
	if _, err := os.Stat(path + ".4"); !os.IsNotExist(err) {
		t.Error("a fourth older file is kept")
	}
}

func TestAFileThatWasRenamedOrRemovedIsOpenedAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "security.log")
	f := open(t, path, 0, 0)
	write(t, f, "one\n")
	testkit.Must(t, os.Rename(path, path+".old"))
	write(t, f, "two\n")
	want(t, path+".old", "one\n")
	want(t, path, "two\n")
	testkit.Must(t, os.Remove(path))
	write(t, f, "three\n")
	want(t, path, "three\n")
	testkit.Must(t, os.Truncate(path, 2))
	write(t, f, "four\n")
	want(t, path, "four\n")
	testkit.Must(t, os.Remove(path))
	testkit.Must(t, f.Reopen()) // makes it at once
	want(t, path, "")
}

func TestHalfALineIsCutOff(t *testing.T) {
	path := filepath.Join(t.TempDir(), "checkpoints.jsonl")
	for text, whole := range map[string]string{"one\ntw": "one\n", "on": "", strings.Repeat("x", 200_000): "",
		"a\n" + strings.Repeat("x", 200_000): "a\n"} {
		testkit.Write(t, path, text)
		f := open(t, path, 0, 0)
		write(t, f, "three\n")
		want(t, path, whole+"three\n")
	}
}

func TestAClosedFileOpensNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "security.log")
	f := open(t, path, 0, 0)
	testkit.Must(t, errors.Join(f.Close(), os.Remove(path)))
	if _, err := f.Write([]byte("late\n")); !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
	if err := f.Reopen(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("it was opened again: %v", err)
	}
}
