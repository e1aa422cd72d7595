package watch_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"ebox-gateway/internal/testkit"
	"ebox-gateway/internal/watch"
)

func write(t *testing.T, path, content string) {
	t.Helper()
	testkit.Write(t, path, content)
}

func TestChangedSeesContentAndNothingElse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	write(t, path, "one")
	f := watch.NewFiles(path)
	write(t, path, "one")
	if got := f.Changed(); got != nil {
		t.Fatalf("the same content counts as a change: %v", got)
	}
	write(t, path, "two")
	if got := f.Changed(); !slices.Equal(got, []string{path}) {
		t.Fatalf("changed %v", got)
	}
	testkit.Must(t, os.Remove(path))
	if got := f.Changed(); len(got) != 1 {
		t.Fatal("a removed file is no change")
	}
	write(t, path, "two")
	if got := f.Changed(); len(got) != 1 {
		t.Fatal("a file that came back is no change")
	}
}

// Kubernetes mounts a Secret as key -> ..data/key and ..data -> a directory with
// a time in its name; an update makes a new directory and renames a new link over
// ..data.
func TestChangedSeesASymlinkSwap(t *testing.T) {
	dir := t.TempDir()
	swap := func(version, content string) {
		testkit.Must(t, os.Mkdir(filepath.Join(dir, version), 0o700))
		write(t, filepath.Join(dir, version, "key"), content)
		testkit.Must(t, os.Symlink(version, filepath.Join(dir, "..data_tmp")))
		testkit.Must(t, os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")))
	}
	swap("..v1", "one")
	key := filepath.Join(dir, "key")
	testkit.Must(t, os.Symlink(filepath.Join("..data", "key"), key))
	f := watch.NewFiles(key)
	swap("..v2", "two")
	if got := f.Changed(); !slices.Equal(got, []string{key}) {
		t.Fatalf("changed %v", got)
	}
}

// A configuration is loaded, then followed: what is written in between was taken for known.
func TestAChangeWhileAConfigurationIsLoadedIsNotMissed(t *testing.T) {
	dir := t.TempDir()
	old, added := filepath.Join(dir, "old"), filepath.Join(dir, "added")
	write(t, old, "one")
	write(t, added, "one")
	f := watch.NewFiles(old)
	write(t, old, "two") // while it is loaded
	if !f.Follow(old, added, "") || f.Follow(old, added) {
		t.Error("files are new once, with the configuration that names them first")
	}
	if got := f.Changed(); !slices.Equal(got, []string{old}) {
		t.Errorf("changed %v", got)
	}
	write(t, added, "two")
	if got := f.Changed(); !slices.Equal(got, []string{added}) {
		t.Errorf("changed %v", got)
	}
}

func TestPollReportsAndEnds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	write(t, path, "one")
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		seen := 0
		go watch.NewFiles(path).Poll(ctx, time.Second, func([]string) { seen++ })
		synctest.Wait()
		write(t, path, "two")
		time.Sleep(1500 * time.Millisecond)
		synctest.Wait()
		if seen != 1 {
			t.Errorf("%d reports of one change", seen)
		}
		cancel()
		synctest.Wait()
	})
}
