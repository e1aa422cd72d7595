// Package watch notices that files changed, by their content.
//
// Kubernetes updates a mounted ConfigMap or Secret by swapping a symbolic link:
// whoever watches the inode sees nothing, for ever. So this package reads the
// files every few seconds and compares checksums, which holds for symlink swaps,
// renames, network file systems and editors alike.
package watch

import (
	"context"
	"crypto/sha256"
	"maps"
	"slices"
	"sync"
	"time"

	"ebox-gateway/internal/files"
)

// Files is a set of files whose content is compared over time. It is not safe
// for concurrent use.
type Files struct {
	sums map[string]sum
}

// sum is the checksum of one file; a file that cannot be read has the zero one, so that its
// coming and going are changes too.
type sum = [sha256.Size]byte

// NewFiles reads the files once and remembers them.
func NewFiles(paths ...string) *Files {
	return &Files{sums: read(slices.DeleteFunc(slices.Clone(paths), func(p string) bool { return p == "" }))}
}

// Changed reads the files again and returns, sorted, those whose content is not
// what it was at the last call.
func (f *Files) Changed() []string {
	var changed []string
	now := read(slices.Collect(maps.Keys(f.sums)))
	for p, old := range f.sums {
		if now[p] != old {
			changed = append(changed, p)
		}
	}
	f.sums = now
	slices.Sort(changed)
	return changed
}

// Follow goes on with another set of files. What is known of a file is kept: a change since
// the last call of Changed, as while a configuration was loaded, is still to be reported.
// more says that files were read for the first time, which may have changed before that.
func (f *Files) Follow(paths ...string) (more bool) {
	sums := make(map[string]sum, len(paths))
	var unknown []string
	for _, p := range paths {
		if old, known := f.sums[p]; known {
			sums[p] = old
		} else if p != "" {
			unknown = append(unknown, p)
		}
	}
	maps.Copy(sums, read(unknown))
	f.sums = sums
	return len(unknown) > 0
}

// Poll calls Changed every interval until ctx is done, and do with what changed.
func (f *Files) Poll(ctx context.Context, interval time.Duration, do func(changed []string)) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if changed := f.Changed(); len(changed) > 0 {
				do(changed)
			}
		}
	}
}

// read reads all files at once, so that however many of them are on a file system that
// hangs, it takes no longer than files.Patience.
func read(paths []string) map[string]sum {
	found := make([]sum, len(paths))
	var wg sync.WaitGroup
	for i, p := range paths {
		wg.Go(func() {
			found[i], _ = files.Sum(p)
		})
	}
	wg.Wait()
	sums := make(map[string]sum, len(paths))
	for i, p := range paths {
		sums[p] = found[i]
	}
	return sums
}
