package audit

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
)

// damage is a compressed file that cannot be read beyond a place: it was cut off or
// changed.
type damage struct {
	// line is the one after the last that could be read.
	line int
	// at is how many bytes of the file were taken in, of size.
	at, size int64
	cause    error
}

// Error implements error.
func (d *damage) Error() string {
	what := "it was changed"
	if errors.Is(d.cause, io.ErrUnexpectedEOF) || errors.Is(d.cause, io.EOF) {
		what = "its end was cut off"
	}
	return fmt.Sprintf("the compressed file cannot be read from here, byte %d of %d: %s", d.at, d.size, what)
}

// lineReader reads a file of lines, compressed if its name says so.
type lineReader struct {
	file *os.File
	// taken tells of bytes of the file that were read, n counts them.
	taken  func(int64)
	n      int64
	failed error // of the disk, not of what is on it
	packed *bufio.Reader
	z      *gzip.Reader
}

// openLines opens a file of lines. A segment that is not there any more in the one form is
// looked for in the other: a gateway that runs may have compressed it since it was listed.
func openLines(path string, taken func(int64)) (*lineReader, error) {
	f, err := os.Open(path)
	if _, ok := parseSegment(path); ok && errors.Is(err, fs.ErrNotExist) {
		plain, compressed := strings.CutSuffix(path, compressedSuffix)
		if path = plain; !compressed {
			path = plain + compressedSuffix
		}
		if other, failed := os.Open(path); failed == nil {
			f, err = other, nil
		}
	}
	if err != nil {
		return nil, err
	}
	r := &lineReader{file: f, taken: taken}
	if strings.HasSuffix(path, compressedSuffix) {
		r.packed = bufio.NewReaderSize(counted{r}, 64<<10)
	}
	return r, nil
}

// counted reads the file itself.
type counted struct{ *lineReader }

func (c counted) Read(p []byte) (int, error) {
	n, err := c.file.Read(p)
	c.n += int64(n)
	if c.taken != nil {
		c.taken(int64(n))
	}
	if err != nil && !errors.Is(err, io.EOF) {
		c.failed = err
	}
	return n, err
}

// Read implements io.Reader. Where a compressed file itself is at fault, the error is a
// *damage.
func (r *lineReader) Read(p []byte) (n int, err error) {
	if r.packed == nil {
		return counted{r}.Read(p)
	}
	if r.z == nil {
		r.z, err = gzip.NewReader(r.packed)
	}
	if err == nil {
		n, err = r.z.Read(p)
	}
	if err == nil || r.failed != nil || r.z != nil && errors.Is(err, io.EOF) {
		return n, cmp.Or(r.failed, err)
	}
	r.z = nil // every further Read fails too
	d := &damage{at: r.n - int64(r.packed.Buffered()), cause: err}
	if info, err := r.file.Stat(); err == nil {
		d.size = info.Size()
	}
	return n, d
}

// Close implements io.Closer.
func (r *lineReader) Close() error { return r.file.Close() }

// eachLine gives the lines of a file in either form, numbered from 1, without their
// line breaks; whole tells that there was one. The text is valid until do returns. taken,
// if not nil, gets the number of bytes on disk as they are read. The error is a *damage
// where a compressed file is at fault.
func eachLine(path string, taken func(int64), do func(n int, text []byte, whole bool) error) error {
	f, err := openLines(path, taken)
	if err != nil {
		return fmt.Errorf("reading the evidence: %w", err)
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 256<<10)
	for n := 1; ; n++ {
		text, err := readLine(r)
		if d, ok := errors.AsType[*damage](err); ok {
			d.line = n // what came of this line is no record
			return d
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("reading the evidence: %w", err)
		}
		if len(text) > 0 {
			line, whole := bytes.CutSuffix(text, []byte{'\n'})
			if err := do(n, line, whole); err != nil {
				return err
			}
		}
		if err != nil {
			return nil
		}
	}
}

// readLine reads up to and with the next line break. A longer line than any record is
// given in parts, none of which is a record.
func readLine(r *bufio.Reader) ([]byte, error) {
	var long []byte
	for {
		part, err := r.ReadSlice('\n')
		if err == nil && long == nil {
			return part, nil
		}
		long = append(long, part...)
		if !errors.Is(err, bufio.ErrBufferFull) || len(long) > maxLine {
			if errors.Is(err, bufio.ErrBufferFull) {
				err = nil
			}
			return long, err
		}
	}
}
