package audit

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"strings"
	"time"
)

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

// counting reports the number of bytes that are read.
type counting struct {
	io.Reader
	read func(int64)
}

func (c counting) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.read(int64(n))
	return n, err
}

// linesOf gives the lines of a file in either form; each is valid until the next one is given. One
// that is longer than any record (maxLine) comes in parts, none of which is a record. read, if not
// nil, is told of the bytes on disk as they are read. An error is the last that is given.
func linesOf(path string, read func(int64)) iter.Seq2[*line, error] {
	return func(yield func(*line, error) bool) {
		f, err := openLines(path)
		if err != nil {
			yield(nil, fmt.Errorf("reading the evidence: %w", err))
			return
		}
		defer f.Close()
		var from io.Reader = f
		if read != nil {
			from = counting{f, read}
		}
		compressed := strings.HasSuffix(f.Name(), compressedSuffix)
		failed := func(n int, err error) {
			switch {
			case !compressed || errors.As(err, new(*fs.PathError)): // which is that of the disk
				yield(nil, fmt.Errorf("reading the evidence: %w", err))
			case errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF):
				yield(&line{file: path, n: n, damage: "its end was cut off"}, nil)
			default:
				yield(&line{file: path, n: n, damage: "it was changed"}, nil)
			}
		}
		if compressed {
			if from, err = gzip.NewReader(bufio.NewReaderSize(from, 64<<10)); err != nil {
				failed(1, err)
				return
			}
		}
		r := bufio.NewReaderSize(from, maxLine)
		for n := 1; ; n++ {
			text, err := r.ReadSlice('\n')
			if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, bufio.ErrBufferFull) {
				failed(n, err) // what came of this line is no record
				return
			}
			if len(text) > 0 {
				l := line{file: path, n: n}
				l.text, l.whole = bytes.CutSuffix(text, []byte{'\n'})
				l.record = l.whole && l.parse()
				if !yield(&l, nil) {
					return
				}
			}
			if errors.Is(err, io.EOF) {
				return
			}
		}
	}
}

// chain reads the segments of a chain and follows the numbers and hashes of their records, for
// verifying and for searching.
type chain struct {
	find func(Finding)
	read func(int64) // as in linesOf

	// last is the record before; blind reports whether the line before could not be read, so that
	// neither the number nor the hash of its record is known.
	last    link
	blind   bool
	started bool
	first   link // what the first record names as the one before it
}

// records gives the records of one segment, after it has found what is wrong with its lines and
// their order. The error is that of reading, or of a newer format.
func (c *chain) records(s *segment) iter.Seq2[*line, error] {
	return func(yield func(*line, error) bool) {
		for l, err := range linesOf(s.path, c.read) {
			if err != nil {
				yield(nil, err)
				return
			}
			if !l.record {
				c.find(l.finding("%s", l.wrong()))
				c.blind = true
				continue
			}
			if !l.intact {
				c.find(l.finding("this record was changed: it is not what its hash was made of"))
			}
			if l.n == 1 {
				if err := c.begin(s, l); err != nil {
					yield(nil, err)
					return
				}
			}
			if what := c.place(l); what != "" {
				c.find(l.finding("%s", what))
			}
			if !yield(l, nil) {
				return
			}
			if l.seq > c.last.seq { // what comes after one that is out of order follows the one before that
				c.last, c.blind = l.link, false
			}
		}
	}
}

// begin compares the first record of a segment with the name of its file. The first record of
// format 1 may be that of a request that began the day before.
func (c *chain) begin(s *segment, l *line) error {
	h, err := l.header()
	if err != nil {
		return err
	}
	if l.seq != s.first {
		c.find(l.finding("the file begins with this record, and its name says seq %d", s.first))
	}
	day := dayOf(h.Time)
	if !s.day.Equal(day) && (h.Format != 1 || !s.day.Equal(day.AddDate(0, 0, 1))) {
		c.find(l.finding("the file begins with a record of %s, and its name says %s: it was renamed",
			day.Format(time.DateOnly), s.day.Format(time.DateOnly)))
	}
	return nil
}

// place compares a record with the one before, and says what is wrong.
func (c *chain) place(l *line) string {
	if !c.started {
		c.started, c.first = true, link{l.seq - 1, l.prev}
		return ""
	}
	expected := c.last.seq + 1
	switch {
	case c.blind && l.seq > expected+1:
		return fmt.Sprintf("records are missing before this one: the last that could be read was seq %d", c.last.seq)
	case c.blind && l.seq >= expected:
		return ""
	case l.seq > expected:
		return fmt.Sprintf("seq %d to %d are missing before this record", expected, l.seq-1)
	case l.seq < expected:
		return fmt.Sprintf("this record is out of order: it follows seq %d", c.last.seq)
	case l.prev != c.last.hash:
		return "the record before this one is not the one that was there: it was replaced"
	}
	return ""
}
