package jsonscan_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"ebox-gateway/internal/jsonscan"
)

// membersOf reads an object, or an array as one without keys.
func membersOf(from io.Reader) (keys []string, values [][]byte, err error) {
	s := jsonscan.NewStream(from, 1<<20, 1<<10)
	value := func() error {
		v, err := s.Value()
		values = append(values, bytes.Clone(v))
		return err
	}
	switch c, nextErr := s.Next(); {
	case nextErr != nil:
		return nil, nil, nextErr
	case c == '[':
		err = s.Array(value)
	default:
		err = s.Object(func(key string) error {
			keys = append(keys, key)
			return value()
		})
	}
	if err == nil {
		err = s.End()
	}
	return keys, values, err
}

// FuzzStream compares what is found in a text, however it comes, with what is found in the whole.
func FuzzStream(f *testing.F) {
	for _, s := range []string{
		`{}`, ` [ ] `, `{"a":1,"b":[{"c":"]}\""}],"\u0064":null}`, `[1,"x",true , -1.5e3,{}]`, `{"a":1}x`, `[1,]`, `{"a" 1}`,
		`{1:2}`, `["\`, `[1`, `{"a":tru}`, `]`, ``, `[[[[`, `{"a":"` + strings.Repeat("x", 2000) + `"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		keys, values, err := membersOf(bytes.NewReader(raw))
		slowKeys, slowValues, slowErr := membersOf(iotest.OneByteReader(bytes.NewReader(raw)))
		if !errors.Is(slowErr, err) || len(slowKeys) != len(keys) || len(slowValues) != len(values) {
			t.Fatalf("%q: %v, and byte by byte %v", raw, err, slowErr)
		}
		valid := json.Valid(raw) && (bytes.HasPrefix(bytes.TrimLeft(raw, " \t\r\n"), []byte("{")) ||
			bytes.HasPrefix(bytes.TrimLeft(raw, " \t\r\n"), []byte("[")))
		switch {
		case errors.Is(err, jsonscan.ErrTooLarge) && len(raw) > 1<<10:
			return
		case valid != (err == nil):
			t.Fatalf("%q: %v", raw, err)
		case !valid:
			return
		}
		want := make([]json.RawMessage, 0)
		var names []string
		if raw = bytes.TrimSpace(raw); raw[0] == '{' {
			for m := range jsonscan.Members(raw) {
				names, want = append(names, string(m.Key)), append(want, m.Value)
			}
		} else if json.Unmarshal(raw, &want) != nil {
			return // deeper than encoding/json goes
		}
		same := func(a json.RawMessage, b []byte) bool { return bytes.Equal(a, b) }
		if !slices.EqualFunc(want, values, same) || !slices.Equal(names, keys) {
			t.Fatalf("%q has %q %q", raw, keys, values)
		}
	})
}

func TestNoMoreOfAStreamIsReadThanItMayHave(t *testing.T) {
	long := `["` + strings.Repeat("x", 100) + `"]`
	for _, c := range []struct {
		name        string
		from        io.Reader
		whole, most int
		want        error
	}{
		{"within both bounds", strings.NewReader(long), 104, 102, nil},
		{"longer than it may be", strings.NewReader(long), 50, 200, jsonscan.ErrTooLarge},
		{"with a value that is longer", iotest.OneByteReader(strings.NewReader(long)), 200, 50, jsonscan.ErrTooLarge},
		{"with blanks without an end", io.MultiReader(strings.NewReader("["), endless{}), 1 << 20, 100, jsonscan.ErrTooLarge},
		{"ending too early", strings.NewReader(long[:50]), 200, 200, jsonscan.ErrSyntax},
		{"on a connection that is cut", io.MultiReader(strings.NewReader(long[:50]), iotest.ErrReader(io.ErrUnexpectedEOF)),
			200, 200, io.ErrUnexpectedEOF},
	} {
		s := jsonscan.NewStream(c.from, c.whole, c.most)
		err := s.Array(func() error { _, err := s.Value(); return err })
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

// endless are blanks.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	copy(p, bytes.Repeat([]byte(" "), len(p)))
	return len(p), nil
}
