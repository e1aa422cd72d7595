package audit

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
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

// sign takes a signature, as the line of a record has it.
func (c *checkpoint) sign(signature []byte) {
	if len(signature) != noteSignature {
		c.signature1 = signature
		return
	}
	c.note = c.text() + "\n— " + originPrefix + c.replica + " " + base64.StdEncoding.EncodeToString(signature) + "\n"
}

// checkpointOf is that of a signed record.
func checkpointOf(replica string, l *line) checkpoint {
	c := checkpoint{replica: replica, link: l.link, time: l.time}
	c.sign(l.signature)
	return c
}

// parseNote reads what the text of a note says.
func parseNote(text string) (c checkpoint, ok bool) {
	lines := strings.SplitN(text, "\n", 5)
	if len(lines) < 5 {
		return c, false
	}
	c.replica, ok = strings.CutPrefix(lines[0], originPrefix)
	hash, noHash := base64.StdEncoding.DecodeString(lines[2])
	if !ok || !validReplica(c.replica) || noHash != nil || copy(c.hash[:], hash) != len(c.hash) {
		return c, false
	}
	var err error
	c.seq, err = strconv.ParseUint(lines[1], 10, 63)
	c.time = lines[3]
	return c, err == nil && c.text() == text
}

// signer signs the checkpoints of a replica.
type signer struct {
	key ed25519.PrivateKey
	id  uint32 // of the key, as a note names it
}

func newSigner(replica string, key ed25519.PrivateKey) (signer, error) {
	v, err := noteVerifier(replica, publicOf(key))
	if err != nil {
		return signer{}, err
	}
	return signer{key, v.KeyHash()}, nil
}

// sign signs a checkpoint, and gives what the record of it carries.
func (s *signer) sign(c *checkpoint) (signature []byte) {
	signature = binary.BigEndian.AppendUint32(nil, s.id)
	signature = append(signature, ed25519.Sign(s.key, []byte(c.text()))...)
	c.sign(signature)
	return signature
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

// verifies reports whether the signature of a checkpoint is that of one of some keys.
func (c *checkpoint) verifies(keys []ed25519.PublicKey) bool {
	return slices.ContainsFunc(keys, func(key ed25519.PublicKey) bool {
		if c.note == "" {
			return ed25519.Verify(key, append([]byte("ebox-gateway evidence\x00"), c.hash[:]...), c.signature1)
		}
		v, err := noteVerifier(c.replica, key)
		if err == nil {
			_, err = note.Open([]byte(c.note), note.VerifierList(v))
		}
		return err == nil
	})
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
func readCheckpoint(l *line) (c checkpoint, ok bool) {
	var holds struct {
		Note    string `json:"note"`
		Replica string `json:"replica"`
	}
	switch {
	case json.Unmarshal(l.text, &holds) != nil:
		return c, false
	case holds.Note == "":
		return checkpointOf(holds.Replica, l), l.record && l.intact && validReplica(holds.Replica)
	}
	text, _, signed := strings.Cut(holds.Note, "\n\n")
	c, ok = parseNote(text + "\n")
	c.note = holds.Note
	return c, ok && signed
}

func publicOf(key ed25519.PrivateKey) ed25519.PublicKey { return key.Public().(ed25519.PublicKey) }

// spki is a public key in DER.
func spki(public ed25519.PublicKey) []byte {
	der, _ := x509.MarshalPKIXPublicKey(public) // which fails for no key of this type
	return der
}

// Fingerprint is the SHA-256 of a public key (SPKI), in hexadecimal.
func Fingerprint(public ed25519.PublicKey) string {
	return fmt.Sprintf("%x", sha256.Sum256(spki(public)))
}

// PublicPEM is a public key as a file has it.
func PublicPEM(public ed25519.PublicKey) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki(public)})
}

// LoadKey reads a private key of Ed25519: PKCS#8 in PEM, as "openssl genpkey
// -algorithm ed25519" writes it.
func LoadKey(file string) (ed25519.PrivateKey, error) {
	return loadPEM[ed25519.PrivateKey](file, "PRIVATE KEY", x509.ParsePKCS8PrivateKey)
}

// LoadPublicKeys reads public keys of Ed25519, each of a file in PEM.
func LoadPublicKeys(files ...string) ([]ed25519.PublicKey, error) {
	var keys []ed25519.PublicKey
	for _, file := range files {
		key, err := loadPEM[ed25519.PublicKey](file, "PUBLIC KEY", x509.ParsePKIXPublicKey)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
}

func loadPEM[K any](file, kind string, parse func(der []byte) (any, error)) (key K, err error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return key, fmt.Errorf("reading a key of the evidence: %w", err)
	}
	if block, _ := pem.Decode(content); block != nil && block.Type == kind {
		parsed, _ := parse(block.Bytes) // nil is no key
		if key, ok := parsed.(K); ok {
			return key, nil
		}
	}
	return key, fmt.Errorf("reading the key of the evidence %s: an unencrypted Ed25519 key in PEM, a %s, is expected, "+
		"as \"openssl genpkey -algorithm ed25519\" makes it", file, kind)
}

// keyName is the file of a key that the log made for itself.
const keyName = "signing.key"

// keyOf gives the key of a log: that of a file, or one of the directory's own, made
// at the first start.
func keyOf(dir, file string) (ed25519.PrivateKey, error) {
	if file != "" {
		return LoadKey(file)
	}
	file = filepath.Join(dir, keyName)
	key, err := LoadKey(file)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if _, key, err = ed25519.GenerateKey(rand.Reader); err != nil {
		return nil, fmt.Errorf("generating a signing key: %w", err)
	}
	der, _ := x509.MarshalPKCS8PrivateKey(key) // which fails for no key of this type
	return key, writeOnce(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// publish writes a public key beside the chain, where its verifier looks first.
func publish(public ed25519.PublicKey, dir string) error {
	err := writeOnce(filepath.Join(dir, publicPrefix+Fingerprint(public)[:16]+".pem"), PublicPEM(public))
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// writeOnce writes a new file and has it on disk.
func writeOnce(name string, content []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("writing %s: %w", filepath.Base(name), err)
	}
	_, err = f.Write(content)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("writing %s: %w", filepath.Base(name), err)
	}
	return nil
}

// publicKeys are those that lie beside a chain.
func publicKeys(dir string) ([]ed25519.PublicKey, error) {
	names, err := filepath.Glob(filepath.Join(dir, publicPrefix+"*.pem"))
	if err != nil {
		return nil, err
	}
	return LoadPublicKeys(names...)
}
