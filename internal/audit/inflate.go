package audit

import (
	"bufio"
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

// openLines opens a file of lines, compressed if its name says so. A segment that is
// not there any more in the one form is looked for in the other: a gateway that runs
// may have compressed it since it was listed.
func openLines(path string) (io.ReadCloser, error) {
	open := func(path string) (io.ReadCloser, error) {
		if strings.HasSuffix(path, compressedSuffix) {
			return newInflater(path)
		}
		return os.Open(path)
	}
	in, err := open(path)
	if _, ok := parseSegment(path); ok && errors.Is(err, fs.ErrNotExist) {
		if plain, compressed := strings.CutSuffix(path, compressedSuffix); compressed {
			path = plain
		} else {
			path += compressedSuffix
		}
		if other, failed := open(path); failed == nil {
			return other, nil
		}
	}
	if err != nil {
		return nil, err
	}
	return in, nil
}

// inflater reads a compressed file, a part at a time, however large it becomes. Where
// the file itself is at fault its error is a *damage.
type inflater struct {
	file   *os.File
	size   int64
	count  counter
	packed *bufio.Reader
	z      *gzip.Reader
	failed error
}

// newInflater opens a compressed file. One that does not even begin as such is told
// by the first Read.
func newInflater(path string) (*inflater, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close() // what went wrong before says more
		return nil, err
	}
	in := &inflater{file: f, size: info.Size(), count: counter{from: f}}
	in.packed = bufio.NewReaderSize(&in.count, 64<<10)
	return in, nil
}

// Read implements io.Reader.
func (in *inflater) Read(p []byte) (n int, err error) {
	if in.failed != nil {
		return 0, in.failed
	}
	if in.z == nil {
		in.z, err = gzip.NewReader(in.packed)
	}
	if err == nil {
		n, err = in.z.Read(p)
		if err == nil || errors.Is(err, io.EOF) {
			return n, err
		}
	}
	switch {
	case in.count.failed != nil:
		in.failed = in.count.failed
	default:
		in.failed = in.damaged(err)
	}
	return n, in.failed
}

// damaged says that the file is at fault here.
func (in *inflater) damaged(cause error) *damage {
	return &damage{at: in.count.n - int64(in.packed.Buffered()), size: in.size, cause: cause}
}

// Close implements io.Closer.
func (in *inflater) Close() error { return in.file.Close() }

// counter counts what is read, and keeps the error of a disk apart from those of what
// is on it.
type counter struct {
	from   io.Reader
	n      int64
	failed error
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	c.n += int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		c.failed = err
	}
	return n, err
}
