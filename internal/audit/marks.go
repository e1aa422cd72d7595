package audit

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"iter"
	"math"
	"os"
	"slices"
	"strings"
)

// mark is a checkpoint and where it stands.
type mark struct {
	checkpoint
	file string
	line int
}

// window is how far a checkpoint may be out of its place in a file, in checkpoints of its
// replica: collectors of logs mix lines up a little. No more of a file are in memory at a time.
const window = 1024

// marks are the checkpoints of one chain in one file, the lowest number first. Lines that
// are not what the gateway wrote become findings as they are read.
type marks struct {
	next  func() (mark, error, bool)
	stop  func()
	ahead []mark // in the order of their numbers
	ended bool
	find  func(m *mark, what string)
	last  uint64
}

// openMarks reads a file of checkpoints as it is at this moment: what a running gateway adds
// to it is newer than the segments that are read. own tells a file beside the chain, which
// holds only its own checkpoints, in order.
func (v *verifier) openMarks(file string, own bool) *marks {
	left := int64(math.MaxInt64)
	if info, err := os.Stat(file); err == nil && !strings.HasSuffix(file, compressedSuffix) {
		left = info.Size()
	}
	origin := []byte(originPrefix + v.replica + `\n`) // as JSON has the first line of a note
	named := []byte(`"replica":"` + v.replica + `"`)  // in one of format 1
	find := func(m *mark, what string) { v.find(m.file, m.line, m.seq, "%s", what) }
	next, stop := iter.Pull2(func(yield func(mark, error) bool) {
		var before uint64
		err := eachLine(file, nil, func(n int, text []byte, whole bool) error {
			if left <= 0 {
				return errStopped // it was added since
			}
			left -= int64(len(text)) + 1
			if !own && (v.replica == "" || !bytes.Contains(text, origin) && !bytes.Contains(text, named)) {
				return nil
			}
			c, err := v.trust.open(text)
			m := mark{c, file, n}
			switch {
			case errors.Is(err, errNoCheckpoint):
				if whole && own { // of a shipped file it is told once; a crash may have torn the last one
					find(&m, noCheckpoint)
				}
				return nil
			case err != nil:
				find(&m, err.Error())
				return nil
			case c.replica != v.replica && v.replica != "":
				if own {
					find(&m, "this checkpoint is of the replica "+c.replica)
				}
				return nil
			}
			if own && c.seq <= before {
				find(&m, fmt.Sprintf("this checkpoint is out of order: it follows that of seq %d", before))
			}
			before = c.seq
			if !yield(m, nil) {
				return errStopped
			}
			return nil
		})
		switch d, damaged := errors.AsType[*damage](err); {
		case damaged && own:
			v.find(file, d.line, 0, "%s", d)
		case err != nil && !damaged && !errors.Is(err, errStopped):
			yield(mark{}, err)
		}
	})
	return &marks{next: next, stop: stop, find: find}
}

const noCheckpoint = "this line is no checkpoint: it was changed, or something else writes into this file"

// upTo takes the next checkpoint whose number is at most seq; nil if there is none.
func (s *marks) upTo(seq uint64) (*mark, error) {
	for !s.ended && len(s.ahead) < window {
		m, err, ok := s.next()
		if err != nil {
			return nil, err
		}
		if !ok {
			s.ended = true
			break
		}
		if m.seq < s.last {
			s.find(&m, "this checkpoint is so far out of order that it was not compared: "+
				"put the lines of this file in order, or give its parts as files of their own")
			continue
		}
		at, _ := slices.BinarySearchFunc(s.ahead, m.seq, func(m mark, seq uint64) int { return cmp.Compare(m.seq, seq) })
		s.ahead = slices.Insert(s.ahead, at, m)
	}
	if len(s.ahead) == 0 || s.ahead[0].seq > seq {
		return nil, nil
	}
	m := s.ahead[0]
	s.ahead, s.last = s.ahead[1:], m.seq
	return &m, nil
}

// replicasIn reads the files of checkpoints that were shipped and gives the last one of each
// replica that they name. Their signatures are verified with the chains.
func replicasIn(files []string) (last map[string]mark, wrong []Finding, err error) {
	last = make(map[string]mark)
	for _, file := range files {
		err := eachLine(file, nil, func(n int, text []byte, whole bool) error {
			c, err := (&trust{}).open(text)
			switch {
			case !errors.Is(err, errNoCheckpoint):
				if c.seq >= last[c.replica].seq {
					last[c.replica] = mark{c, file, n}
				}
			case whole && len(wrong) < mostFindings:
				wrong = append(wrong, Finding{File: file, Line: n, What: noCheckpoint})
			}
			return nil
		})
		if d, ok := errors.AsType[*damage](err); ok {
			wrong = append(wrong, Finding{File: file, Line: d.line, What: d.Error()})
		} else if err != nil {
			return nil, nil, err
		}
	}
	return last, wrong, nil
}
