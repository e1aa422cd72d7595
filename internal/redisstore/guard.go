package redisstore

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
)

// What a reply of Redis may announce. go-redis makes room for as many elements and bytes as a
// reply says, and calls itself for each level and each attribute, so that a few bytes of a broken
// or hostile server would end the process. Each bound has generous room for what the gateway asks for.
const (
	// maxElements is twice the slots of a Cluster whose ranges are all of one slot.
	maxElements = 32 << 10
	// maxBulk is twice the largest list of Document Providers, in bytes; an answer has maxAnswer.
	maxBulk = 8 << 20
	// maxDepth is almost twice the depth of COMMAND, with the keys of its subcommands.
	maxDepth = 16
	// maxLine bounds what has no length of its own, such as an error, in bytes.
	maxLine = 64 << 10
	// maxPending bounds what the replies that are being read on all connections of a client have
	// announced, in bytes, an element counting for elementSize. The variants of one resource have half of it.
	maxPending  = 64 << 20
	elementSize = 64
)

// guard makes connections that end with an error when a reply announces too much.
type guard struct {
	dialer  net.Dialer
	tls     *tls.Config // nil for none
	pending atomic.Int64
}

// dial is a Dialer of go-redis.
func (g *guard) dial(ctx context.Context, network, address string) (net.Conn, error) {
	dial := g.dialer.DialContext
	if g.tls != nil {
		dial = (&tls.Dialer{NetDialer: &g.dialer, Config: g.tls}).DialContext
	}
	c, err := dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	watched := &guarded{Conn: c, pending: &g.pending}
	// By the socket go-redis finds out whether an idle connection has ended. It cannot look below
	// TLS, where there may be a record that is no reply.
	if socket, plain := c.(syscall.Conn); plain {
		return struct {
			*guarded
			syscall.Conn
		}{watched, socket}, nil
	}
	return watched, nil
}

// guarded is a connection whose replies (RESP2 and RESP3) are followed as they are read. After one that
// announces too much it is read no further: go-redis closes a connection after any error but a time-out.
type guarded struct {
	net.Conn
	pending *atomic.Int64 // of all connections

	mu      sync.Mutex // held while a piece is followed
	refusal error      // why it is read no further
	// announced is what the reply that is being read adds to pending.
	announced int64
	bulk      int    // bytes still to come of a string with a length, its line end included
	line      []byte // the beginning of a line that has not ended
	open      []int  // values still to come of each list that has not ended, the outermost first
}

// Read implements net.Conn.
func (c *guarded) Read(p []byte) (int, error) {
	if err := c.follow(nil); err != nil {
		return 0, err
	}
	n, err := c.Conn.Read(p)
	if refusal := c.follow(p[:n]); refusal != nil {
		return 0, refusal
	}
	return n, err
}

// Close implements net.Conn.
func (c *guarded) Close() error {
	c.mu.Lock()
	c.refusal = cmp.Or(c.refusal, net.ErrClosed)
	c.release()
	c.mu.Unlock()
	return c.Conn.Close()
}

// release takes what was announced from pending, since the reply has ended or is read no further. c.mu is held.
func (c *guarded) release() {
	c.pending.Add(-c.announced)
	c.announced = 0
}

// follow takes in the next piece of what Redis sends. After a refusal it gives that again.
func (c *guarded) follow(p []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(p) > 0 && c.refusal == nil {
		if c.bulk > 0 {
			n := min(c.bulk, len(p))
			c.bulk -= n
			p = p[n:]
			if c.bulk == 0 {
				c.ended()
			}
			continue
		}
		line, rest, whole := bytes.Cut(p, []byte("\n"))
		p = rest
		if len(c.line) > 0 {
			line = append(c.line, line...)
			c.line = line[:0]
		}
		switch {
		case len(line) > maxLine:
			c.refuse("a line is longer than %d bytes", maxLine)
		case whole:
			c.begin(line)
		default:
			c.line = append(c.line, line...)
		}
	}
	return c.refusal
}

func (c *guarded) refuse(format string, args ...any) {
	c.release()
	c.refusal = errors.New("reading a reply of Redis: " + fmt.Sprintf(format, args...) + "; see what answers at redis.url")
}

// begin takes in the first line of a value, without the line feed.
func (c *guarded) begin(line []byte) {
	text, ok := bytes.CutSuffix(line, []byte("\r"))
	if !ok || len(text) == 0 {
		c.refuse("%.40q is no line of its protocol", line)
		return
	}
	switch text[0] {
	case '+', '-', ':', '_', ',', '#', '(':
		c.ended()
		return
	case '$', '!', '=', '*', '~', '>', '%':
	default: // attributes ('|') too, which nothing that the gateway asks for has
		c.refuse("%.40q begins no value of its protocol", text)
		return
	}
	n, err := strconv.Atoi(string(text[1:]))
	switch {
	case err != nil || n < -1:
		c.refuse("%.40q announces no length", text)
	case n == -1: // null
		c.ended()
	case text[0] == '$' || text[0] == '!' || text[0] == '=':
		if n > maxBulk {
			c.refuse("it announces %d bytes, more than %d", n, maxBulk)
			return
		}
		c.bulk = n + len("\r\n")
		c.announce(n)
	case n > maxElements:
		c.refuse("it announces %d elements, more than %d", n, maxElements)
	case len(c.open) == maxDepth:
		c.refuse("its lists are more than %d deep", maxDepth)
	case n == 0:
		c.ended()
	default:
		if text[0] == '%' {
			n *= 2
		}
		c.open = append(c.open, n)
		c.announce(n * elementSize)
	}
}

func (c *guarded) announce(n int) {
	c.announced += int64(n)
	if c.pending.Add(int64(n)) > maxPending {
		c.refuse("those that are being read announce more than %d bytes together", maxPending)
	}
}

// ended notes the end of a value, and with it that of the lists whose last one it is.
func (c *guarded) ended() {
	for len(c.open) > 0 {
		last := len(c.open) - 1
		if c.open[last]--; c.open[last] > 0 {
			return
		}
		c.open = c.open[:last]
	}
	c.release()
}
