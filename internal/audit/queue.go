package audit

// queue holds records that wait, in chunks: it grows without copying what it holds, and
// chunks are used again.
type queue struct {
	chunks []*chunk
	n      int
}

const chunkSize = 64

type chunk struct {
	n       int
	entries [chunkSize]entry
}

// add appends a record. The chunk for it, if another is needed, comes from spare.
func (q *queue) add(e *entry, spare *chunks) {
	last := len(q.chunks) - 1
	if last < 0 || q.chunks[last].n == chunkSize {
		q.chunks = append(q.chunks, spare.take())
		last++
	}
	c := q.chunks[last]
	c.entries[c.n] = *e
	c.n++
	q.n++
}

// append moves all of another queue behind this one. Chunks that fit into the last one
// are emptied into it and given back: many that are nearly empty would take too much.
func (q *queue) append(other *queue) (emptied chunks) {
	for _, c := range other.chunks {
		if last := len(q.chunks) - 1; last >= 0 && q.chunks[last].n+c.n <= chunkSize {
			to := q.chunks[last]
			copy(to.entries[to.n:], c.entries[:c.n])
			to.n += c.n
			c.clear()
			emptied = append(emptied, c)
			continue
		}
		q.chunks = append(q.chunks, c)
	}
	q.n += other.n
	clear(other.chunks)
	other.chunks, other.n = other.chunks[:0], 0
	return emptied
}

// clear forgets the records, so that nothing of a request outlives them.
func (c *chunk) clear() {
	clear(c.entries[:c.n])
	c.n = 0
}

// chunks are spare ones, empty.
type chunks []*chunk

// maxSpare is how many are kept; after a flood the rest is given up.
const maxSpare = 64

func (s *chunks) take() *chunk {
	last := len(*s) - 1
	if last < 0 {
		return new(chunk)
	}
	c := (*s)[last]
	*s = (*s)[:last]
	return c
}

func (s *chunks) give(list []*chunk) {
	for _, c := range list {
		if len(*s) == maxSpare {
			return
		}
		*s = append(*s, c)
	}
}
