package audit

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// checkpoint is a signed record as it was handed out: its place in files, of which
// verifier.files has the names.
type checkpoint struct {
	hash digest
	file uint32
	line uint32
}

// newest is the last checkpoint that was seen.
type newest struct {
	checkpoint
	seq  uint64
	time string
}

// beside are the checkpoints in the file beside the chain, one a minute for ten years.
// They are in the chain's order and read along with it; those that were shipped may be
// in any, and are held in memory.
type beside struct {
	path  string
	in    *os.File // nil if there is none, or no more
	r     *bufio.Reader
	n     int
	wrong rubbish
	// next is the one that was read last, seq its number.
	next checkpoint
	seq  uint64
}

// openBeside opens the file beside the chain, if there is one. What a gateway that runs
// appends from now on is not read: the chain may be read before it has the same.
func (v *verifier) openBeside(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the evidence: %w", err)
	}
	v.beside = beside{path: path, in: f}
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("reading the evidence: %w", err)
	}
	v.beside.r = bufio.NewReaderSize(io.LimitReader(f, info.Size()), 64<<10)
	return nil
}

func (b *beside) close() error {
	if b.in == nil {
		return nil
	}
	err := b.in.Close()
	b.in = nil
	return err
}

// upTo reads on to the checkpoint of a record, and gives it if there is one.
func (v *verifier) upTo(seq uint64) (c checkpoint, ok bool, err error) {
	b := &v.beside
	for b.in != nil && b.seq < seq {
		if err := v.nextBeside(); err != nil {
			return checkpoint{}, false, err
		}
	}
	return b.next, b.seq == seq, nil
}

// nextBeside reads the next line of the file beside the chain.
func (v *verifier) nextBeside() error {
	b := &v.beside
	text, err := readLine(b.r)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("reading the evidence: %w", err)
	}
	if len(text) > 0 {
		b.n++
		line, whole := bytes.CutSuffix(text, []byte{'\n'})
		if wrong := v.lineBeside(line, whole); wrong && b.wrong.add(text) != nil {
			v.find(b.path, b.n, 0, "%s", errRubbish)
			return b.close()
		}
	}
	if err != nil {
		return b.close()
	}
	return nil
}

// lineBeside makes a line the next checkpoint, if it is one.
func (v *verifier) lineBeside(text []byte, whole bool) (wrong bool) {
	b := &v.beside
	l, err := parseLine(text)
	switch {
	case err != nil && !whole:
		return false // a crash may have torn it; the chain has the record
	case err != nil || !v.signed(&l):
		v.find(b.path, b.n, l.seq, "%s", notSigned)
		return true
	case l.seq <= b.seq:
		v.find(b.path, b.n, l.seq, "this checkpoint is out of order: it follows that of seq %d", b.seq)
		return true
	}
	c := v.note(b.path, b.n, &l, text)
	if known, ok := v.shipped[l.seq]; ok && known.hash != l.hash {
		v.find(b.path, b.n, l.seq, "this checkpoint and %s:%d are of two different chains", v.files[known.file], known.line)
	}
	b.next, b.seq = c, l.seq
	return false
}

const notSigned = "this checkpoint does not verify: it was changed, or signed by another key"

// signed tells a record that carries a signature that verifies.
func (v *verifier) signed(l *line) bool {
	return l.intact() && l.signature != nil && verifies(v.keys, l)
}

// note takes up what a checkpoint says of the chain as a whole.
func (v *verifier) note(file string, n int, l *line, text []byte) checkpoint {
	if last := len(v.files) - 1; last < 0 || v.files[last] != file {
		v.files = append(v.files, file)
	}
	c := checkpoint{l.hash, uint32(len(v.files) - 1), uint32(n)}
	if l.seq > v.newest.seq {
		v.newest = newest{c, l.seq, l.time}
	}
	v.noteDropped(l, text)
	return c
}

// noteDropped notes the end of a segment that was dropped.
func (v *verifier) noteDropped(l *line, text []byte) {
	if l.kind != KindDropped {
		return
	}
	f, err := fieldsOf(text)
	var end link
	if err == nil && len(f.LastHash) == hexLen && unhex(&end.hash, []byte(f.LastHash)) {
		end.seq = f.Last
		v.dropped = append(v.dropped, end)
	}
}

// load reads a file of checkpoints that were shipped. Those of other replicas are passed
// over.
func (v *verifier) load(file string) error {
	err := v.each(file, func(n int, text []byte, _ bool) (bool, error) { return v.loadLine(file, n, text), nil })
	if errors.Is(err, errUnread) {
		return nil
	}
	return err
}

// loadLine tells whether nothing is wrong with a checkpoint that was shipped.
func (v *verifier) loadLine(file string, n int, text []byte) bool {
	l, err := parseLine(text)
	var whose signedFields
	if err == nil && l.signature != nil && l.intact() {
		if whose, err = fieldsOf(text); err == nil && whose.Replica != v.replica {
			return true // another's, with a key of its own
		}
	}
	if err != nil || !v.signed(&l) {
		v.find(file, n, l.seq, "%s", notSigned)
		return false
	}
	sound := true
	if known, ok := v.shipped[l.seq]; ok && known.hash != l.hash {
		v.find(file, n, l.seq, "this checkpoint and %s:%d are of two different chains", v.files[known.file], known.line)
		sound = false
	}
	v.shipped[l.seq] = v.note(file, n, &l, text)
	return sound
}
