package audit

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
)

// damage is a compressed file that cannot be read beyond a line: it was cut off or changed.
type damage struct {
	line  int // the one after the last that could be read
	cause error
}

// Error implements error.
func (d *damage) Error() string {
	what := "it was changed"
	if errors.Is(d.cause, io.ErrUnexpectedEOF) || errors.Is(d.cause, io.EOF) {
		what = "its end was cut off"
	}
	return "the compressed file cannot be read from here: " + what
}

// openLines opens a file of lines. A segment that is not there any more in the one form is
// looked for in the other: a gateway that runs may have compressed it since it was listed.
func openLines(path string) (*os.File, error) {
	f, err := os.Open(path)
	if _, ok := parseSegment(path); ok && errors.Is(err, fs.ErrNotExist) {
		plain, compressed := strings.CutSuffix(path, compressedSuffix)
		if !compressed {
			plain += compressedSuffix
		}
		if other, failed := os.Open(plain); failed == nil {
			return other, nil
		}
	}
	return f, err
}

// counted tells of the bytes that are read.
type counted struct {
	io.Reader
	taken func(int64)
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.taken(int64(n))
	return n, err
}

// eachLine gives the lines of a file in either form, numbered from 1, without their
// line breaks; whole tells that there was one. A line longer than any record (maxLine) comes in
// parts, none of which is a record. The text is valid until do returns. taken, if not nil,
// gets the number of bytes on disk as they are read. The error is a *damage where a compressed
// file is at fault.
func eachLine(path string, taken func(int64), do func(n int, text []byte, whole bool) error) error {
	f, err := openLines(path)
	if err != nil {
		return fmt.Errorf("reading the evidence: %w", err)
	}
	defer f.Close()
	var from io.Reader = f
	if taken != nil {
		from = counted{f, taken}
	}
	compressed := strings.HasSuffix(f.Name(), compressedSuffix)
	failed := func(n int, err error) error {
		if compressed && !errors.As(err, new(*fs.PathError)) { // which is that of the disk
			return &damage{n, err}
		}
		return fmt.Errorf("reading the evidence: %w", err)
	}
	if compressed {
		if from, err = gzip.NewReader(bufio.NewReaderSize(from, 64<<10)); err != nil {
			return failed(1, err)
		}
	}
	r := bufio.NewReaderSize(from, maxLine)
	for n := 1; ; n++ {
		text, err := r.ReadSlice('\n')
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, bufio.ErrBufferFull) {
			return failed(n, err) // what came of this line is no record
		}
		if len(text) > 0 {
			line, whole := bytes.CutSuffix(text, []byte{'\n'})
			if err := do(n, line, whole); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
	}
}
