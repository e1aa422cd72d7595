package audit

import (
	"errors"
	"fmt"
)

// chain reads the segments of a chain and follows the numbers and hashes of their records, for
// verifying and for searching.
type chain struct {
	find func(Finding)
	read func(int64) // is told of the bytes that were read; may be nil

	// last is the record before; known tells that its hash is, blind that the line
	// before could not be read, so that its number is not known either.
	last         link
	known, blind bool
	started      bool
	first        link // what the first record names as the one before it
}

// follow makes a record the last one, unless it is out of order: what comes after it
// follows the one that it does not.
func (c *chain) follow(l *line) {
	if l.seq > c.last.seq {
		c.last, c.known, c.blind = link{l.seq, l.hash}, true, false
	}
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
	case c.known && l.prev != c.last.hash:
		return "the record before this one is not the one that was there: it was replaced"
	}
	return ""
}

// lose says that a line could not be read, so that nothing is known of the record there.
func (c *chain) lose() { c.blind, c.known = true, false }

// segment reads one file, finds what is wrong with its lines and their order, and gives each
// record that can be read; intact tells that it is what its hash was made of. The error is a
// *NewerError, or that of do or of reading.
func (c *chain) segment(s *segment, do func(n int, text []byte, l *line, intact bool) error) (lines int, err error) {
	err = eachLine(s.path, c.read, func(n int, text []byte, whole bool) error {
		lines = n
		l, err := parseLine(text)
		if err != nil || !whole {
			what := "this line is no record: it was changed"
			if !whole {
				what = "the file ends within a record: its end was cut off, or the gateway is writing it at this moment"
			}
			c.find(Finding{File: s.path, Line: n, What: what})
			c.lose()
			return nil
		}
		intact := l.intact()
		if !intact {
			c.find(Finding{s.path, n, l.seq, "this record was changed: it is not what its hash was made of"})
		}
		if n == 1 {
			h, err := headerOf(s.path, text, &l)
			if errors.As(err, new(*NewerError)) {
				return err
			}
			for _, what := range s.misnamed(&l, h) {
				c.find(Finding{s.path, n, l.seq, what})
			}
		}
		if what := c.place(&l); what != "" {
			c.find(Finding{s.path, n, l.seq, what})
		}
		if err := do(n, text, &l, intact); err != nil {
			return err
		}
		c.follow(&l)
		return nil
	})
	if d, ok := errors.AsType[*damage](err); ok {
		c.find(Finding{File: s.path, Line: d.line, What: d.Error()})
		c.lose()
		return d.line, nil
	}
	return lines, err
}
