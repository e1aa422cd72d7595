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
	"maps"
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

// compareBeside compares the files of a bundle that repeat what its records say with the records.
func (v *verifier) compareBeside() error {
	for _, name := range slices.Sorted(maps.Keys(v.beside)) {
		path := filepath.Join(v.Dir, name)
		switch is, err := os.ReadFile(path); {
		case errors.Is(err, fs.ErrNotExist):
			v.find(Finding{File: path, What: "this file of the bundle is missing"})
		case err != nil:
			return fmt.Errorf("reading the bundle: %w", err)
		case !bytes.Equal(is, v.beside[name]):
			v.find(Finding{File: path, What: "this file is not what the records say: it was changed"})
		}
	}
	files, err := filesOf(v.Dir)
	for _, path := range files.foreign {
		name := filepath.Base(path)
		if _, ok := v.beside[name]; !ok && !strings.HasPrefix(name, segmentPrefix) {
			v.find(Finding{File: path, What: "this is no file of a bundle: it was put there"})
		}
	}
	return err
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
	files := os.DirFS(dir)
	err := fs.WalkDir(files, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		in, err := files.Open(name)
		if err != nil {
			return err
		}
		defer in.Close()
		h := sha256.New()
		_, err = io.Copy(h, in)
		fmt.Fprintf(&sums, "%x  %s\n", h.Sum(nil), name)
		return err
	})
	return sums.Bytes(), err
}

// exportChain writes what a bundle has of one chain; nil if it has nothing of those days. It is
// verified then, which makes the files that repeat what its records say.
func exportChain(chain, to string, from, until time.Time, o VerifyOptions) (*Report, error) {
	files, replica, err := openChain(chain)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(to, cmp.Or(replica, filepath.Base(chain)))
	first, last, err := exportSegments(files.segments, dir, from, until)
	if err != nil || last == 0 {
		return nil, err
	}
	for _, file := range files.checkpoints {
		if err := exportCheckpoints(file, dir, first, last); err != nil {
			return nil, err
		}
	}
	keys, err := publicKeys(chain)
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		if err := publish(key, dir); err != nil {
			return nil, err
		}
	}
	o.Bundle = true
	v := newVerifier(dir, o)
	if err := v.run(); err != nil {
		return nil, err
	}
	for name, content := range v.beside {
		if err := writeOnce(filepath.Join(dir, name), content); err != nil {
			return nil, err
		}
	}
	return &v.Report, nil
}

// exportCheckpoints copies those of some records.
func exportCheckpoints(file, dir string, first, last uint64) error {
	var kept []byte
	for l, err := range linesOf(file, nil) {
		if err != nil {
			return err
		}
		if c, ok := readCheckpoint(l); ok && c.seq >= first && c.seq <= last {
			kept = append(append(kept, l.text...), '\n')
		}
	}
	if len(kept) == 0 {
		return nil
	}
	return writeOnce(filepath.Join(dir, filepath.Base(file)), kept)
}

// exportSegments copies the segments of some days, as plain text, and those behind them until a
// signature covers the last record of these days. It cuts off what stands behind the last
// signature. It gives the numbers of the first and the last record; 0 if there are none.
func exportSegments(segments []segment, dir string, from, until time.Time) (first, last uint64, err error) {
	var copies []*segmentCopy
	unsigned := false
	for _, s := range segments {
		head, err := headerOf(&s)
		if err != nil {
			return 0, 0, err
		}
		day := dayOf(head.Time)
		if head.Time.IsZero() {
			day = s.day // of a first record that was changed, which verifying the bundle finds
		}
		if !from.IsZero() && day.Before(from) || !until.IsZero() && day.After(until) && !unsigned {
			continue
		}
		c, err := copySegment(s, dir)
		if err != nil {
			return 0, 0, err
		}
		copies = append(copies, c)
		unsigned = c.size > c.signedSize
	}
	for _, c := range slices.Backward(copies) {
		if c.signed > 0 {
			return copies[0].first, c.signed, os.Truncate(c.path, c.signedSize)
		}
		if err := os.Remove(c.path); err != nil {
			return 0, 0, err
		}
	}
	if len(copies) > 0 { // the directory has nothing in it
		err = os.Remove(dir)
	}
	return 0, 0, err
}

// segmentCopy is the plain text of a segment in a bundle: with size bytes from the record first on,
// of which signedSize are up to the last signature, that of the record signed.
type segmentCopy struct {
	path             string
	first, signed    uint64
	size, signedSize int64
}

func copySegment(s segment, dir string) (*segmentCopy, error) {
	c := &segmentCopy{path: filepath.Join(dir, filepath.Base(s.plain()))}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	out, err := os.OpenFile(c.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	w := bufio.NewWriter(out)
	for l, failed := range linesOf(s.path, nil) {
		if err = failed; err != nil {
			break
		}
		if l.damage != "" {
			err = errors.New(l.wrong())
			break
		}
		if !l.whole {
			continue
		}
		c.size += int64(len(l.text)) + 1
		w.Write(l.text)
		w.WriteByte('\n') // Flush gives the error
		if !l.record {
			continue // verifying the bundle finds it
		}
		c.first = cmp.Or(c.first, l.seq)
		if l.kind.signed() {
			c.signed, c.signedSize = l.seq, c.size
		}
	}
	return c, errors.Join(err, w.Flush(), out.Close())
}
