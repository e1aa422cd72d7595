package audit

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// eachLine gives the lines of a file in either form, numbered from 1, without their
// line breaks; whole tells that there was one. The text is valid until do returns. The
// error is a *damage where a compressed file is at fault.
func eachLine(path string, do func(n int, text []byte, whole bool) error) error {
	f, err := openLines(path)
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

// rubbish bounds what is read of a file that is not what it should be: a compressed one
// of a few megabytes can become terabytes.
type rubbish struct {
	lines int
	bytes int64
}

const (
	mostRubbishLines = 1000
	mostRubbishBytes = 16 << 20
)

// errRubbish says that the rest of a file is not worth reading.
var errRubbish = errors.New("too much in this file is not as it was written; the rest of it was not read")

// add counts a line that is wrong.
func (r *rubbish) add(text []byte) error {
	r.lines++
	r.bytes += int64(len(text))
	if r.lines > mostRubbishLines || r.bytes > mostRubbishBytes {
		return errRubbish
	}
	return nil
}
