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
	"io"
	"os"
	"slices"
	"time"
)

// Files is a set of files whose content is compared over time. It is not safe
// for concurrent use.
type Files struct {
	sums map[string]sum
}

// sum is the state of one file; a file that cannot be read has none, so that its
// coming and going are changes too.
type sum struct {
	digest [sha256.Size]byte
	there  bool
}

// NewFiles reads the files once and remembers them.
func NewFiles(paths ...string) *Files {
	f := &Files{sums: make(map[string]sum, len(paths))}
	for _, p := range paths {
		if p != "" {
			f.sums[p] = read(p)
		}
	}
	return f
}

// Changed reads the files again and returns, sorted, those whose content is not
// what it was at the last call.
func (f *Files) Changed() []string {
	var changed []string
	for p, old := range f.sums {
		if now := read(p); now != old {
			f.sums[p] = now
			changed = append(changed, p)
		}
	}
	slices.Sort(changed)
	return changed
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

func read(path string) sum {
	file, err := os.Open(path)
	if err != nil {
		return sum{}
	}
	defer file.Close()
	h := sha256.New()
	if _, err := io.Copy(h, file); err != nil {
		return sum{}
	}
	s := sum{there: true}
	h.Sum(s.digest[:0])
	return s
}
