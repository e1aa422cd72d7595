package audit

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/sha256"
	_ "embed" // the page
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A bundle is what an auditor gets: whole days of the chain of each replica, and a page that
// says how to verify them with openssl and sha256sum:
//
//	VERIFY.md, SHA256SUMS
//	REPLICA/evidence-20260101-000000000001.jsonl    records, as the gateway wrote them
//	REPLICA/checkpoint.note                         the signature over the last of them
//	REPLICA/checkpoints-2026.jsonl                  those before it
//	REPLICA/timestamp-000000000007.note, ….tsr      a checkpoint and its time stamp
//	REPLICA/public-….pem                            the keys

const (
	pageName    = "VERIFY.md"
	sumsName    = "SHA256SUMS"
	noteName    = "checkpoint.note"
	stampPrefix = "timestamp-"
)

//go:embed verify.md
var page []byte

// bundleFiles are those of a bundle that only repeat what its records say.
type bundleFiles struct {
	each func(name string, content []byte) error
	seen map[string]bool
}

func (b *bundleFiles) add(name string, content []byte) error {
	if b == nil {
		return nil
	}
	if b.seen == nil {
		b.seen = make(map[string]bool)
	}
	if b.seen[name] {
		return nil
	}
	b.seen[name] = true
	return b.each(name, content)
}

// compareBeside compares a file of a bundle with what the records say.
func (v *verifier) compareBeside(name string, content []byte) error {
	path := filepath.Join(v.dir, name)
	switch is, err := os.ReadFile(path); {
	case errors.Is(err, fs.ErrNotExist):
		v.find(path, 0, 0, "this file of the bundle is missing")
	case err != nil:
		return fmt.Errorf("reading the bundle: %w", err)
	case !bytes.Equal(is, content):
		v.find(path, 0, 0, "this file is not what the records say: it was changed")
	}
	return nil
}

// Export writes a bundle of whole days (UTC, both included; zero is no bound) into the
// directory to, which must not exist. Records behind the last signature of a chain that is
// being written are left out: its next bundle has them. What it reports is what verifying the
// bundle found; then the error is nil all the same. Chains without records of those days are
// left out, and so may be all of them.
func Export(chains []string, to string, from, until time.Time, o VerifyOptions) ([]Report, error) {
	if err := os.Mkdir(to, 0o700); err != nil {
		return nil, fmt.Errorf("making the bundle: %w: name a directory that does not exist", err)
	}
	var reports []Report
	for _, chain := range chains {
		r, err := exportChain(chain, to, from, until, o)
		if err != nil {
			return reports, fmt.Errorf("making the bundle of %s: %w", chain, err)
		}
		if r != nil {
			reports = append(reports, *r)
		}
	}
	if err := writeOnce(filepath.Join(to, pageName), page); err != nil {
		return reports, err
	}
	sums, err := sumsOf(to)
	if err != nil {
		return reports, fmt.Errorf("making the bundle: %w", err)
	}
	return reports, writeOnce(filepath.Join(to, sumsName), sums)
}

// sumsOf lists the files of a directory as sha256sum does.
func sumsOf(dir string) ([]byte, error) {
	var sums bytes.Buffer
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		in, err := os.Open(path)
		if err != nil {
			return err
		}
		defer in.Close()
		h := sha256.New()
		if _, err := io.Copy(h, in); err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		fmt.Fprintf(&sums, "%x  %s\n", h.Sum(nil), filepath.ToSlash(name))
		return err
	})
	return sums.Bytes(), err
}

// exportChain writes what a bundle has of one chain; nil if it has nothing of those days.
func exportChain(chain, to string, from, until time.Time, o VerifyOptions) (*Report, error) {
	files, err := filesOf(chain)
	if err != nil {
		return nil, err
	}
	if err := files.newer(); err != nil {
		return nil, err
	}
	replica, err := replicaOf(files.segments)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(to, cmp.Or(replica, filepath.Base(chain)))
	first, last, err := exportSegments(files.segments, dir, from, until)
	if err != nil || last == 0 {
		return nil, err
	}
	for _, file := range files.checkpoints {
		var kept []byte
		err := eachLine(file, nil, func(_ int, text []byte, whole bool) error {
			if c, _, err := readCheckpoint(text); err == nil && whole && c.seq >= first && c.seq <= last {
				kept = append(append(kept, text...), '\n')
			}
			return nil
		})
		if err == nil && len(kept) > 0 {
			err = writeOnce(filepath.Join(dir, filepath.Base(file)), kept)
		}
		if err != nil {
			return nil, err
		}
	}
	keys, err := filepath.Glob(filepath.Join(chain, publicPrefix+"*.pem"))
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		content, err := os.ReadFile(key)
		if err == nil {
			err = writeOnce(filepath.Join(dir, filepath.Base(key)), content)
		}
		if err != nil {
			return nil, err
		}
	}
	v := newVerifier(dir, o)
	v.bundle = &bundleFiles{each: func(name string, content []byte) error {
		return writeOnce(filepath.Join(dir, name), content)
	}}
	err = v.run(o)
	return &v.report, err
}

// exportSegments copies the segments of some days, as plain text, up to the first signed record
// behind those days, or else the last one that there is. It gives the numbers of the first and
// the last record; 0 if there are none.
func exportSegments(segments []segment, dir string, from, until time.Time) (first, last uint64, err error) {
	var signed struct { // the last signed record
		path string
		end  int64
	}
	open := false // records stand behind it
	var paths []string
	for _, s := range segments {
		head, err := firstOf(s.path)
		if err != nil {
			return 0, 0, err
		}
		day := head.Time.UTC().Truncate(24 * time.Hour)
		if head.Time.IsZero() {
			day = s.day // of a first record that was changed, which verifying the bundle finds
		}
		behind := !until.IsZero() && day.After(until)
		if first == 0 && (!from.IsZero() && day.Before(from) || behind) {
			continue
		}
		if behind && last > 0 && !open {
			break
		}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return 0, 0, err
		}
		path := filepath.Join(dir, strings.TrimSuffix(filepath.Base(s.path), compressedSuffix))
		out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return 0, 0, err
		}
		paths = append(paths, path)
		w, size, done := bufio.NewWriter(out), int64(0), false
		err = eachLine(s.path, nil, func(_ int, text []byte, whole bool) error {
			if !whole {
				return nil
			}
			size += int64(len(text)) + 1
			w.Write(text)
			w.WriteByte('\n')
			open = true
			l, err := parseLine(text)
			if err != nil {
				return nil //nolint:nilerr // verifying the bundle finds it
			}
			if first == 0 {
				first = l.seq
			}
			if l.kind.signed() {
				signed.path, signed.end, last, open = path, size, l.seq, false
				if done = behind; done {
					return errStopped
				}
			}
			return nil
		})
		if errors.Is(err, errStopped) {
			err = nil
		}
		if err := errors.Join(err, w.Flush(), out.Close()); err != nil {
			return 0, 0, err
		}
		if done {
			break
		}
	}
	for _, path := range slices.Backward(paths) {
		if path == signed.path {
			return first, last, os.Truncate(path, signed.end)
		}
		if err := os.Remove(path); err != nil {
			return 0, 0, err
		}
	}
	if len(paths) > 0 { // the directory has nothing in it
		err = os.Remove(dir)
	}
	return 0, 0, err
}
