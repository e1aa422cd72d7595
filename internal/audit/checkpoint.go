package audit

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// A signature over the chain is a signed note (https://c2sp.org/signed-note) that others can
// cosign. Its text names whose chain it is, the number, hash and time of the signed record:
//
//	ebox-gateway-evidence/r1
//	7
//	<the SHA-256 of record 7, in base64>
//	2026-11-28T18:00:00Z
//
// The lines are those of a checkpoint (https://c2sp.org/tlog-checkpoint), but the hash is that
// of a chain and no root of a Merkle tree, so there are no proofs of consistency: who has a
// later record has the hashes of all before it.
//
// In the chain the line of the record carries the signature alone, since it says the rest.
// A file of checkpoints holds whole notes, one JSON object a line.
const originPrefix = "ebox-gateway-evidence/"

// noteSignature is the size of a note's signature: the id of the key, and that of Ed25519.
const noteSignature = 4 + ed25519.SignatureSize

// checkpoint is a signature over the chain up to a record, and what it says.
type checkpoint struct {
	replica string
	link
	time string
	// note is the whole note. Format 1 had none: its signature is over the hash alone.
	note       string
	signature1 []byte
}

func (c *checkpoint) text() string {
	return fmt.Sprintf("%s%s\n%d\n%s\n%s\n", originPrefix, c.replica, c.seq,
		base64.StdEncoding.EncodeToString(c.hash[:]), c.time)
}

// checkpointOf is that of a signed record.
func checkpointOf(replica string, l *line) checkpoint {
	c := checkpoint{replica: replica, link: l.link, time: l.time}
	if len(l.signature) != noteSignature {
		c.signature1 = l.signature
		return c
	}
	c.note = c.text() + "\n— " + originPrefix + replica + " " + base64.StdEncoding.EncodeToString(l.signature) + "\n"
	return c
}

// parseCheckpoint reads the text of a note.
func parseCheckpoint(text string) (checkpoint, error) {
	var c checkpoint
	lines := strings.SplitN(text, "\n", 5)
	if len(lines) < 5 {
		return c, errNoCheckpoint
	}
	var ok bool
	if c.replica, ok = strings.CutPrefix(lines[0], originPrefix); !ok || !validReplica(c.replica) {
		return c, errNoCheckpoint
	}
	hash, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil || copy(c.hash[:], hash) != len(c.hash) {
		return c, errNoCheckpoint
	}
	c.time = lines[3]
	if c.seq, err = strconv.ParseUint(lines[1], 10, 63); err != nil || c.text() != text {
		return c, errNoCheckpoint
	}
	return c, nil
}

var errNoCheckpoint = errors.New("is no checkpoint")

// signer makes the checkpoints of a replica. It is a note.Signer.
type signer struct {
	note.Verifier
	key ed25519.PrivateKey
}

// Sign implements note.Signer.
func (s *signer) Sign(text []byte) ([]byte, error) { return ed25519.Sign(s.key, text), nil }

func newSigner(replica string, key ed25519.PrivateKey) (*signer, error) {
	v, err := noteVerifier(replica, publicOf(key))
	return &signer{v, key}, err
}

// sign makes the note of a checkpoint, and gives what the record of it carries: the end of its last
// line.
func (s *signer) sign(c *checkpoint) (signature string) {
	text, _ := note.Sign(&note.Note{Text: c.text()}, s) // which fails for no text of these lines
	c.note = string(text)
	return strings.TrimSuffix(c.note[strings.LastIndexByte(c.note, ' ')+1:], "\n")
}

func noteVerifier(replica string, key ed25519.PublicKey) (v note.Verifier, err error) {
	text, err := note.NewEd25519VerifierKey(originPrefix+replica, key)
	if err == nil {
		v, err = note.NewVerifier(text)
	}
	if err != nil {
		return nil, fmt.Errorf("verifying notes of %s: %w", replica, err)
	}
	return v, nil
}

// trust verifies signatures of any of some keys, for whatever replica.
type trust struct {
	keys      []ed25519.PublicKey
	verifiers map[string]note.Verifiers // by replica
}

func newTrust(keys []ed25519.PublicKey) trust { return trust{keys, make(map[string]note.Verifiers)} }

// verifies reports whether the signature of a checkpoint is that of one of the keys.
func (t *trust) verifies(c checkpoint) bool {
	if c.note == "" {
		message := append([]byte("ebox-gateway evidence\x00"), c.hash[:]...)
		return slices.ContainsFunc(t.keys, func(key ed25519.PublicKey) bool {
			return ed25519.Verify(key, message, c.signature1)
		})
	}
	known, ok := t.verifiers[c.replica]
	if !ok {
		var list []note.Verifier
		for _, key := range t.keys {
			v, err := noteVerifier(c.replica, key)
			if err != nil {
				return false // a name that no note may have
			}
			list = append(list, v)
		}
		known = note.VerifierList(list...)
		t.verifiers[c.replica] = known
	}
	_, err := note.Open([]byte(c.note), known)
	return err == nil
}

// line is the note as a line of a file of checkpoints.
func (c *checkpoint) line() []byte {
	b, err := json.Marshal(struct {
		Log  string `json:"log"`
		Note string `json:"note"`
	}{"evidence checkpoint", c.note})
	if err != nil { // no string fails
		return nil
	}
	return append(b, '\n')
}

// readCheckpoint reads what a line of a file of checkpoints says, whoever wrote it. A line of
// format 1 is the signed record itself.
func readCheckpoint(r raw) (checkpoint, error) {
	var holds struct {
		Note    string `json:"note"`
		Replica string `json:"replica"`
	}
	if err := json.Unmarshal(r.text, &holds); err != nil {
		return checkpoint{}, errNoCheckpoint
	}
	if holds.Note != "" {
		text, _, signed := strings.Cut(holds.Note, "\n\n")
		c, err := parseCheckpoint(text + "\n")
		if c.note = holds.Note; !signed {
			err = errNoCheckpoint
		}
		return c, err
	}
	l, err := parseLine(r)
	if err != nil || !l.intact || !validReplica(holds.Replica) {
		return checkpoint{}, errNoCheckpoint
	}
	return checkpointOf(holds.Replica, &l), nil
}
