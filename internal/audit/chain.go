package audit

import "fmt"

// chain follows the numbers and hashes of records. It is shared by verifying and searching.
type chain struct {
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
