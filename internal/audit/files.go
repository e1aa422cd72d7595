package audit

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
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

const (
	// format is the version of the segments that are written and the newest that is read.
	// Format 1 had no record of the segment, and other signatures.
	format = 2

	segmentPrefix    = "evidence-"
	segmentSuffix    = ".jsonl"
	compressedSuffix = ".gz"
	// unfinishedSuffix is that of a file that is being written.
	unfinishedSuffix = ".tmp"
	dayForm          = "20060102"
	lockName         = "lock"
	// checkpointsPrefix is that of the files of checkpoints, one a year.
	checkpointsPrefix = "checkpoints"
	tornPrefix        = "torn-"
	publicPrefix      = "public-"
)

// segment is a file of the chain: records of one day.
type segment struct {
	path string
	// compressed is the form of the file.
	compressed bool
	size       int64
	// first is the sequence number of its first record, day (UTC) the day on which it
	// was begun; both as its name says.
	first uint64
	day   time.Time
}

// plain is the path of its plain form.
func (s *segment) plain() string { return strings.TrimSuffix(s.path, compressedSuffix) }

func segmentPath(dir string, first uint64, day time.Time) string {
	return filepath.Join(dir, fmt.Sprintf("%s%s-%012d%s", segmentPrefix, day.UTC().Format(dayForm), first, segmentSuffix))
}

// segmentName is the name of a segment: its day, the number of its first record, and its form.
var segmentName = regexp.MustCompile(`^evidence-(\d{8})-(\d{12}|[1-9]\d{12,18})\.jsonl(\.gz)?$`)

func parseSegment(path string) (segment, bool) {
	parts := segmentName.FindStringSubmatch(filepath.Base(path))
	if parts == nil {
		return segment{}, false
	}
	day, noDay := time.Parse(dayForm, parts[1])
	first, noNumber := strconv.ParseUint(parts[2], 10, 63)
	if noDay != nil || noNumber != nil || first == 0 {
		return segment{}, false
	}
	return segment{path: path, compressed: parts[3] != "", first: first, day: day}, true
}

// chainFiles is what lies in the directory of a chain.
type chainFiles struct {
	// segments are in the order of their first numbers. Of one that lies there in both
	// forms the plain one is given.
	segments []segment
	// checkpoints are the files of checkpoints, the oldest first.
	checkpoints []string
	// foreign are names that no gateway of this version gives.
	foreign []string
}

// filesOf lists the directory of a chain.
func filesOf(dir string) (chainFiles, error) {
	var files chainFiles
	found := make(map[string]fs.FileInfo)
	// Twice: of a segment that is compressed at this moment, a listing that takes its
	// time may show neither form.
	for range 2 {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return files, fmt.Errorf("listing the evidence: %w", err)
		}
		for _, e := range entries {
			info, err := e.Info()
			if err == nil {
				found[e.Name()] = info
			} else if !errors.Is(err, fs.ErrNotExist) { // compressed since
				return files, fmt.Errorf("listing the evidence: %w", err)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(found)) { // checkpoints.jsonl, of format 1, is not the first
		path, info := filepath.Join(dir, name), found[name]
		switch s, ok := parseSegment(path); {
		case info.Mode().IsRegular() && ok:
			s.size = info.Size()
			files.segments = append(files.segments, s)
		case info.Mode().IsRegular() && isCheckpoints(name):
			files.checkpoints = append(files.checkpoints, path)
		case !info.Mode().IsRegular() || !isOwnFile(name):
			files.foreign = append(files.foreign, path)
		}
	}
	slices.SortStableFunc(files.segments, func(a, b segment) int { return cmp.Compare(a.first, b.first) })
	// Where both forms are there, a process was killed, or is at work, between the last two steps of compressing.
	// A plain name is the beginning of the compressed one, and so came first.
	files.segments = slices.CompactFunc(files.segments, func(a, b segment) bool { return a.plain() == b.plain() })
	return files, nil
}

func isCheckpoints(name string) bool {
	return strings.HasPrefix(name, checkpointsPrefix) && strings.HasSuffix(name, segmentSuffix)
}

// isOwnFile reports whether a name is another of those that the log gives.
func isOwnFile(name string) bool {
	of, unfinished := strings.CutSuffix(name, unfinishedSuffix)
	_, ofSegment := parseSegment(of)
	return name == lockName || name == keyName || strings.HasPrefix(name, tornPrefix) ||
		strings.HasPrefix(name, publicPrefix) && strings.HasSuffix(name, ".pem") ||
		unfinished && (ofSegment || isCheckpoints(of))
}

// newerName says what a file is that is named like a segment, in a way that is not known.
const newerName = "%s has a name that this version of the gateway does not know: it was written by a newer " +
	"version, or put there; use the version that wrote the evidence, or take the file away"

// header reads the first record of a segment. Format 1 has none: its Replica is empty. Of a record
// that was changed Time is zero. The error is that of a newer format.
func (l *line) header() (header, error) {
	h := header{Format: 1}
	if l.kind != KindSegment {
		h.Time, _ = time.Parse(time.RFC3339Nano, l.time)
		return h, nil
	}
	if json.Unmarshal(l.text, &h) != nil {
		return header{Format: format}, nil //nolint:nilerr // a changed record, which is told where it is verified
	}
	if h.Format > format {
		return h, fmt.Errorf("%s was written by a newer version of the gateway, in format %d; this version "+
			"knows formats up to %d: use the version that wrote it", l.file, h.Format, format)
	}
	return h, nil
}

// headerOf is the header of a segment. That of one whose first line is no record, or that is empty, is
// zero.
func headerOf(s *segment) (header, error) {
	for l, err := range linesOf(s.path, nil) {
		if err != nil || !l.record {
			return header{}, err
		}
		return l.header()
	}
	return header{}, nil
}

// replicaOf finds whose chain it is: by the first record of a segment, or of format 1 by the
// first signed one. Empty if neither can be read, or if it names what no file may be named:
// anybody can make a record whose hash is right, and a bundle has a directory of that name.
func (f *chainFiles) replicaOf() (string, error) {
	for _, s := range f.segments {
		for l, err := range linesOf(s.path, nil) {
			if err != nil {
				return "", err
			}
			if !l.record || !l.intact || !l.kind.signed() && l.kind != KindSegment {
				continue // another record says it
			}
			var f signedFields
			if json.Unmarshal(l.text, &f) == nil && validReplica(f.Replica) {
				return f.Replica, nil
			}
		}
	}
	return "", nil
}

// openChain lists a chain that is to be read or written, and says whose it is. A file that is named
// like a segment, in a way that is not known, is an error.
func openChain(dir string) (files chainFiles, replica string, err error) {
	if files, err = filesOf(dir); err != nil {
		return files, "", err
	}
	for _, path := range files.foreign {
		if strings.HasPrefix(filepath.Base(path), segmentPrefix) {
			return files, "", fmt.Errorf(newerName, path)
		}
	}
	replica, err = files.replicaOf()
	return files, replica, err
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
		return nil, fmt.Errorf("looking for evidence: %s holds none; give the directory of audit.dir, or one replica's in it",
			dir)
	}
	return chains, nil
}

// isChain reports whether a chain is, or was, in a directory.
func isChain(dir string) bool {
	files, err := filesOf(dir)
	return err == nil && len(files.segments)+len(files.checkpoints) > 0
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
			return nil, fmt.Errorf("locking the evidence: another process writes to %s: give each replica a name of its "+
				"own (audit.replica)", dir)
		}
		return nil, fmt.Errorf("locking the evidence in %s: %w", dir, err)
	}
	return f, nil
}

// isAt reports whether a path leads to an open file.
func isAt(path string, f interface{ Stat() (fs.FileInfo, error) }) bool {
	at, err := os.Lstat(path)
	if err != nil {
		return false
	}
	own, err := f.Stat()
	return err == nil && os.SameFile(at, own)
}

// syncDir has the names of a directory on disk.
func syncDir(open OpenFile, dir string) error {
	d, err := open(dir, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
