package audit

import (
	"errors"
	"strings"
)

// mark is a checkpoint and where it stands.
type mark struct {
	checkpoint
	file string
	line int
}

const noCheckpoint = "this line is no checkpoint: it was changed, or something else writes into this file"

// readMarks reads the checkpoints of the chain in one file; some 200 MB of memory hold a million
// of them, which is two years of a gateway that is never idle. Lines that are not what the
// gateway wrote become findings. own tells a file beside the chain, which holds only its own
// checkpoints, in order.
func (v *verifier) readMarks(file string, own bool) error {
	var before uint64
	err := eachLine(file, nil, func(n int, text []byte, whole bool) error {
		c, _, err := readCheckpoint(text)
		switch {
		case err != nil:
			if whole && own { // of a shipped file it is told once; a crash may have torn the last one
				v.find(file, n, c.seq, "%s", noCheckpoint)
			}
			return nil
		case c.replica != v.replica && !own:
			return nil
		}
		if c, err = v.trust.open(text); err != nil {
			v.find(file, n, c.seq, "%s", err)
			return nil
		}
		if c.replica != v.replica && v.replica != "" {
			v.find(file, n, c.seq, "this checkpoint is of the replica %s", c.replica)
			return nil
		}
		if own && c.seq <= before {
			v.find(file, n, c.seq, "this checkpoint is out of order: it follows that of seq %d", before)
		}
		before = c.seq
		c.replica, c.time = v.replica, strings.Clone(c.time) // which would keep the whole line
		m := mark{c, file, n}
		v.marks[c.seq] = append(v.marks[c.seq], m)
		if c.seq > v.newest.seq {
			v.newest = m
		}
		return nil
	})
	if d, ok := errors.AsType[*damage](err); ok {
		if own {
			v.find(file, d.line, 0, "%s", d)
		}
		return nil
	}
	return err
}

// replicasIn reads the files of checkpoints that were shipped and gives the last one of each
// replica that they name. Their signatures are verified with the chains.
func replicasIn(files []string) (last map[string]mark, wrong []Finding, err error) {
	last = make(map[string]mark)
	for _, file := range files {
		err := eachLine(file, nil, func(n int, text []byte, whole bool) error {
			c, _, err := readCheckpoint(text)
			switch {
			case err == nil:
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
	if len(files) > 0 && len(last) == 0 && len(wrong) == 0 {
		// All that is left to compare with lies beside the chains, where it could have been cut with them.
		wrong = append(wrong, Finding{File: files[0], What: "the checkpoints that were shipped are empty: " +
			"they were removed, or this is another file"})
	}
	return last, wrong, nil
}
