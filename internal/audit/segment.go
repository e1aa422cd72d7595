package audit

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// File is what the log needs of a file. An *os.File is one.
type File interface {
	io.Writer
	Stat() (fs.FileInfo, error)
	Sync() error
	Truncate(size int64) error
	Close() error
}

// OpenFile opens a file as os.OpenFile does.
type OpenFile func(name string, flag int, perm fs.FileMode) (File, error)

func openFile(name string, flag int, perm fs.FileMode) (File, error) {
	f, err := os.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err // not a nil *os.File that is no nil File
	}
	return f, nil
}

// segment is a file of the chain: records of about one day.
type segment struct {
	path string
	// compressed tells the form of the file, twin that it lies there in both: a process
	// died, or is at work, between the last two steps of compressing it.
	compressed, twin bool
	// first is the sequence number of its first record, day (UTC) the day on which it
	// was begun.
	first uint64
	day   time.Time
}

const (
	segmentPrefix = "evidence-"
	segmentSuffix = ".jsonl"
	dayForm       = "20060102"
	// checkpointsName is the file of the signed records.
	checkpointsName = "checkpoints.jsonl"
	lockName        = "lock"
)

func segmentPath(dir string, first uint64, day time.Time) string {
	return filepath.Join(dir, fmt.Sprintf("%s%s-%012d%s", segmentPrefix, day.UTC().Format(dayForm), first, segmentSuffix))
}

func parseSegment(path string) (segment, bool) {
	plain, compressed := strings.CutSuffix(filepath.Base(path), compressedSuffix)
	name, ok := strings.CutPrefix(plain, segmentPrefix)
	if !ok {
		return segment{}, false
	}
	if name, ok = strings.CutSuffix(name, segmentSuffix); !ok {
		return segment{}, false
	}
	day, seq, ok := strings.Cut(name, "-")
	if !ok {
		return segment{}, false
	}
	at, err := time.Parse(dayForm, day)
	if err != nil {
		return segment{}, false
	}
	first, err := strconv.ParseUint(seq, 10, 63)
	if err != nil || first == 0 {
		return segment{}, false
	}
	return segment{path: path, compressed: compressed, first: first, day: at}, true
}

// segmentsOf lists the segments of a chain, in its order. Of one that lies there in
// both forms the plain one is given.
func segmentsOf(dir string) ([]segment, error) {
	var list []segment
	// Twice: of a segment that is compressed at this moment, a listing that takes its
	// time may show neither form.
	for range 2 {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return nil, fmt.Errorf("listing the evidence: %w", err)
		}
		for _, e := range entries {
			if s, ok := parseSegment(filepath.Join(dir, e.Name())); ok && e.Type().IsRegular() {
				list = append(list, s)
			}
		}
	}
	// A plain name is the beginning of the compressed one, and so comes first.
	slices.SortFunc(list, func(a, b segment) int {
		return cmp.Or(cmp.Compare(a.first, b.first), strings.Compare(a.path, b.path))
	})
	list = slices.CompactFunc(list, func(a, b segment) bool { return a.path == b.path })
	for i := 0; i+1 < len(list); i++ {
		if list[i].path+compressedSuffix == list[i+1].path {
			list[i].twin = true
			list = slices.Delete(list, i+1, i+2)
		}
	}
	return list, nil
}

// Chains gives the directories of chains at or directly below dir.
func Chains(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("looking for evidence: %w", err)
	}
	if isChain(dir) {
		return []string{dir}, nil
	}
	var chains []string
	for _, e := range entries {
		if sub := filepath.Join(dir, e.Name()); e.IsDir() && isChain(sub) {
			chains = append(chains, sub)
		}
	}
	if len(chains) == 0 {
		return nil, fmt.Errorf("looking for evidence: %s holds none; give the directory of audit.dir, or one replica's in it", dir)
	}
	return chains, nil
}

// isChain tells a directory in which a chain is or was.
func isChain(dir string) bool {
	if segments, err := segmentsOf(dir); err == nil && len(segments) > 0 {
		return true
	}
	_, err := os.Stat(filepath.Join(dir, checkpointsName))
	return err == nil
}

// lock makes sure that one process alone writes to a chain. It is given up by closing
// the file, and by the end of the process, however it ends.
func lock(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the evidence: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("locking the evidence: another process writes to %s: give each replica a name of its own (audit.replica)", dir)
		}
		return nil, fmt.Errorf("locking the evidence in %s: %w", dir, err)
	}
	return f, nil
}

// syncDir has the names of a directory on disk.
func syncDir(open OpenFile, dir string) error {
	d, err := open(dir, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
