package wire

import "io"

// States of a body.
const (
	open    int32 = iota
	busy          // a Read is under way
	closing       // Close was called during a Read
	over
)

// Read reads the answer's body. The last bytes of a length come with io.EOF. Errors are *Error.
func (x *exchange) Read(p []byte) (int, error) {
	if !x.state.CompareAndSwap(open, busy) {
		if x.state.Load() == over && x.err != nil {
			return 0, x.err
		}
		return 0, errClosedBody
	}
	n, err := x.read(p)
	if err != nil {
		if err != io.EOF {
			err = x.fail(err, reading)
		}
		x.err = err
		x.finish(x.state.CompareAndSwap(busy, over) && err == io.EOF)
		x.state.Store(over)
		return n, err
	}
	if !x.state.CompareAndSwap(busy, open) { // Close was called
		x.err = errClosedBody
		x.finish(false)
		x.state.Store(over)
	}
	return n, nil
}

func (x *exchange) read(p []byte) (n int, err error) {
	c := x.c
	switch {
	case x.left == Chunked:
		n, err = x.chunks.Read(p)
		if err == io.EOF {
			for name, values := range x.chunks.Trailer() {
				x.answer.Trailer[name] = values
			}
		}
		return n, err
	case x.left == Undeclared:
		n, err = c.r.Read(p)
		if err == io.EOF && c.records != nil && c.records.ended {
			err = errNotClosed
		}
		return n, err
	case x.left == 0:
		return 0, io.EOF
	}
	n, err = c.r.Read(p[:min(int64(len(p)), x.left)])
	x.left -= int64(n)
	if err == nil && x.left == 0 {
		err = io.EOF
	} else {
		err = unexpected(err)
	}
	return n, err
}

// Close ends the body. Before its end it closes the connection, unless the rest is already there. It may be called
// during a Read, which it ends.
func (x *exchange) Close() error {
	for {
		switch x.state.Load() {
		case open:
			if x.state.CompareAndSwap(open, busy) {
				x.err = errClosedBody
				rest := int(x.left)
				well := x.left >= 0 && x.left <= int64(x.c.r.Buffered())
				if well {
					x.c.r.skip(rest)
				}
				x.finish(well)
				x.state.Store(over)
				return nil
			}
		case busy:
			// The Read under way then ends the exchange. Nobody else can have the connection yet.
			if x.state.CompareAndSwap(busy, closing) {
				x.cancel()
				return nil
			}
		default:
			return nil
		}
	}
}
