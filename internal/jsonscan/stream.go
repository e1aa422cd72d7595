package jsonscan

import (
	"encoding/json"
	"errors"
	"io"
)

// Errors of a Stream. Any other is that of its reader.
var (
	ErrSyntax   = errors.New("not valid JSON")
	ErrTooLarge = errors.New("larger than it may be")
)

// Stream takes a JSON text apart while it comes. It holds no more of it than one value, and
// takes no more than it is allowed to. It is for one goroutine at a time.
type Stream struct {
	from io.Reader
	// left is how many bytes may still be read, most how many a value may have.
	left, most int
	buf        []byte // buf[at:] was read and not yet taken
	at         int
	ended      error // what the reader said at its end
}

// NewStream reads at most whole bytes, of which one value may have at most bytes.
func NewStream(from io.Reader, whole, most int) *Stream {
	return &Stream{from: from, left: whole, most: most}
}

// Object takes an object and calls each for every member, which has to take the value. The key
// is without escapes.
func (s *Stream) Object(each func(key string) error) error {
	return s.list('{', '}', func() error {
		key, err := s.Value()
		if err != nil {
			return err
		}
		if key[0] != '"' {
			return ErrSyntax
		}
		name := Text(key)
		if err := s.take(':'); err != nil {
			return err
		}
		return each(name)
	})
}

// Array takes an array and calls each for every element, which has to take it.
func (s *Stream) Array(each func() error) error { return s.list('[', ']', each) }

func (s *Stream) list(first, last byte, each func() error) error {
	if err := s.take(first); err != nil {
		return err
	}
	switch c, err := s.Next(); {
	case err != nil:
		return err
	case c == last:
		s.at++
		return nil
	}
	for {
		if err := each(); err != nil {
			return err
		}
		c, err := s.Next()
		if err != nil {
			return err
		}
		s.at++
		switch c {
		case ',':
		case last:
			return nil
		default:
			return ErrSyntax
		}
	}
}

func (s *Stream) take(want byte) error {
	c, err := s.Next()
	switch {
	case err != nil:
		return err
	case c != want:
		return ErrSyntax
	}
	s.at++
	return nil
}

// Value takes the next value. Its bytes are good until more is taken.
func (s *Stream) Value() ([]byte, error) {
	if _, err := s.Next(); err != nil {
		return nil, err
	}
	for scan := (valueScan{}); ; {
		if n, whole := scan.end(s.buf[s.at:]); whole {
			value := s.buf[s.at : s.at+n]
			s.at += n
			switch {
			case n > s.most:
				return nil, ErrTooLarge
			case !json.Valid(value):
				return nil, ErrSyntax
			}
			return value, nil
		}
		if err := s.more(); err != nil {
			return nil, err
		}
	}
}

// Next gives the byte behind white space, which comes next.
func (s *Stream) Next() (byte, error) {
	for {
		for s.at < len(s.buf) {
			if c := s.buf[s.at]; !isBlank(c) {
				return c, nil
			}
			s.at++
		}
		if err := s.more(); err != nil {
			return 0, err
		}
	}
}

// End takes the white space behind the text, up to the end of the reader.
func (s *Stream) End() error {
	_, err := s.Next()
	switch {
	case err == nil:
		return ErrSyntax
	case s.ended == io.EOF:
		return nil
	}
	return err
}

// more reads more. A text that its reader ends too early is no valid one.
func (s *Stream) more() error {
	switch {
	case len(s.buf)-s.at > s.most:
		return ErrTooLarge
	case s.ended == io.EOF:
		return ErrSyntax
	case s.ended != nil:
		return s.ended
	case s.left == 0:
		return ErrTooLarge
	}
	if s.at > 0 {
		s.buf = s.buf[:copy(s.buf, s.buf[s.at:])]
		s.at = 0
	}
	if len(s.buf) == cap(s.buf) {
		s.buf = append(make([]byte, 0, max(8<<10, 2*cap(s.buf))), s.buf...)
	}
	room := s.buf[len(s.buf):cap(s.buf)]
	n, err := s.from.Read(room[:min(len(room), s.left)])
	s.buf, s.left, s.ended = s.buf[:len(s.buf)+n], s.left-n, err
	if n == 0 && err != nil {
		return s.more()
	}
	return nil
}
