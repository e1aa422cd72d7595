package redisstore

import (
	"bytes"
	"compress/flate"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"ebox-gateway/internal/files"
)

// Key is one encryption key, as what is made of it: one for names, one for values. However it
// is printed, neither shows.
type Key struct {
	id            string
	names, values []byte
}

const keySize = 32

// LoadKey reads a key from a file: 32 bytes, in base64 or hex. id, of up to 32 characters, is
// written beside what it seals. Errors hold nothing of the file's content.
func LoadKey(id, file string) (Key, error) {
	text, err := files.Text(file, files.Most)
	if err != nil {
		return Key{}, fmt.Errorf("reading encryption key %s: %w", id, err)
	}
	s := strings.TrimSpace(string(text))
	for _, decode := range []func(string) ([]byte, error){
		hex.DecodeString, base64.StdEncoding.DecodeString, base64.RawStdEncoding.DecodeString,
		base64.URLEncoding.DecodeString, base64.RawURLEncoding.DecodeString,
	} {
		if secret, err := decode(s); err == nil && len(secret) == keySize {
			return newKey(id, secret)
		}
	}
	return Key{}, fmt.Errorf("reading encryption key %s from %s: 32 random bytes are expected, in base64 or hex: "+
		`"openssl rand -base64 32" makes them`, id, file)
}

func newKey(id string, secret []byte) (Key, error) {
	names, err := hkdf.Expand(sha256.New, secret, "ebox-gateway redis names", keySize)
	if err != nil {
		return Key{}, fmt.Errorf("deriving from encryption key %s: %w", id, err)
	}
	values, err := hkdf.Expand(sha256.New, secret, "ebox-gateway redis values", keySize)
	return Key{id, names, values}, err
}

// Same reports whether two keys are the same, secret included.
func (k Key) Same(other Key) bool { return k.id == other.id && hmac.Equal(k.values, other.values) }

// Format implements fmt.Formatter: every verb prints the id alone.
func (k Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "encryption key "+k.id) }

// A value is
//
//	version, flags, length of the key's id, id, salt (16), nonce (12), sealed content
//
// all but the content in the clear, and none of it open to change: what stands before
// the salt, the purpose and the Redis key are bound to it as additional data. The
// content is compressed if that makes it smaller. Every value has a key of its own,
// derived from the salt: with random nonces, one key of AES-GCM is good for some four
// thousand million values, and a cache writes more. Without keys, the content stands
// right after the id, which is empty.
const (
	version        = 1
	flagCompressed = 1

	saltSize  = 16
	nonceSize = 12
	// worthwhile is the size from which compression is tried.
	worthwhile = 256
	// maxContent bounds what a value may grow to when it is opened, in bytes: a body of maxBody has half of it.
	maxContent = 16 << 20
)

// purpose is what a value is for. A value put in the place of another of a different
// purpose is refused.
type purpose string

const (
	forToken  purpose = "access" // "token" was that of values with a tag in front
	forLock   purpose = "lock"
	forList   purpose = "list"
	forAnswer purpose = "answer"
	forNews   purpose = "news"
	forRate   purpose = "gcra"
)

// ring is the keys, ready for use.
type ring struct {
	keys   []Key  // the first seals
	prefix string // of names
	// writers and readers are kept, since one weighs more than most of what it compresses.
	writers, readers sync.Pool
}

func newRing(keys []Key, prefix string) *ring {
	r := &ring{keys: keys, prefix: prefix}
	r.writers.New = func() any {
		w, _ := flate.NewWriter(nil, flate.BestSpeed) // the level is a valid one
		return w
	}
	r.readers.New = func() any { return flate.NewReader(nil) }
	return r
}

// sealed reports whether encryption keys are set, and tokens and what belongs to an
// enterprise therefore shared.
func (r *ring) sealed() bool { return len(r.keys) > 0 }

// mac is the HMAC-SHA-256 of what under a key.
func mac(key, what []byte) []byte {
	m := hmac.New(sha256.New, key)
	m.Write(what)
	return m.Sum(nil)
}

// names gives the Redis keys of something: one for each encryption key, the one to
// write under first. None of them shows what it names. Between braces stands what
// Redis Cluster places it by.
func (r *ring) names(p purpose, what []byte) []string {
	if !r.sealed() {
		sum := sha256.Sum256(what)
		return []string{r.name(p, sum[:])}
	}
	list := make([]string, len(r.keys))
	for i, k := range r.keys {
		list[i] = r.name(p, mac(k.names, what))
	}
	return list
}

func (r *ring) name(p purpose, digest []byte) string {
	return r.prefix + string(p) + ":{" + base64.RawURLEncoding.EncodeToString(digest) + "}"
}

// seal makes the value of content, to stand under the Redis key at.
func (r *ring) seal(p purpose, at string, content []byte) ([]byte, error) {
	var flags byte
	if small := r.compress(content); small != nil {
		flags, content = flagCompressed, small
	}
	if !r.sealed() {
		return append([]byte{version, flags, 0}, content...), nil
	}
	k := r.keys[0]
	header := 3 + len(k.id)
	b := make([]byte, header+saltSize, header+saltSize+nonceSize+len(content)+16)
	b[0], b[1], b[2] = version, flags, byte(len(k.id))
	copy(b[3:], k.id)
	_, _ = rand.Read(b[header:]) // which never fails
	aead, err := k.aead(b[header:])
	if err != nil {
		return nil, err
	}
	//nolint:gosec // this AEAD makes a random nonce itself, and wants none
	return aead.Seal(b, nil, content, bound(p, at, b[:header])), nil
}

var (
	errGarbage  error = unexpectedError("opening a value: nothing that this version of the gateway wrote")
	errUnsealed       = errors.New("opening a value: it is not sealed, so a replica without redis.encryptionKeys " +
		"wrote it: give all replicas the same keys")
	errSeal error = unexpectedError("opening a value: its seal is broken, or it was put in the place of another")
)

// open gives the content of a value that was found under at.
func (r *ring) open(p purpose, at string, value []byte) ([]byte, error) {
	if len(value) < 3 || value[0] != version || value[1] > flagCompressed || len(value) < 3+int(value[2]) {
		return nil, errGarbage
	}
	header := 3 + int(value[2])
	id, content := string(value[3:header]), value[header:]
	if id == "" && r.sealed() {
		return nil, errUnsealed
	}
	if id != "" {
		i := slices.IndexFunc(r.keys, func(k Key) bool { return k.id == id })
		if i < 0 {
			return nil, fmt.Errorf("opening a value: it is sealed with key %q, which this replica does not have", id)
		}
		if len(content) < saltSize {
			return nil, errGarbage
		}
		aead, err := r.keys[i].aead(content[:saltSize])
		if err != nil {
			return nil, err
		}
		if content, err = aead.Open(nil, nil, content[saltSize:], bound(p, at, value[:header])); err != nil {
			return nil, errSeal
		}
	}
	if value[1] == flagCompressed {
		return r.expand(content)
	}
	return content, nil
}

// aead is the cipher of one value. What it seals begins with the nonce that it drew.
func (k *Key) aead(salt []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(mac(k.values, salt))
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// bound is the additional data: each part with its length, so that no two spell alike.
func bound(p purpose, at string, header []byte) []byte {
	b := make([]byte, 0, 12+len(p)+len(at)+len(header))
	for _, part := range [...]string{string(p), at, string(header)} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(part)))
		b = append(b, part...)
	}
	return b
}

// compress gives nil if it would not help.
func (r *ring) compress(content []byte) []byte {
	if len(content) < worthwhile {
		return nil
	}
	w := r.writers.Get().(*flate.Writer)
	defer r.writers.Put(w)
	var b bytes.Buffer
	b.Grow(len(content) / 2)
	w.Reset(&b)
	if _, err := w.Write(content); err != nil || w.Close() != nil || b.Len() >= len(content) {
		return nil
	}
	return b.Bytes()
}

func (r *ring) expand(small []byte) ([]byte, error) {
	from := r.readers.Get().(io.ReadCloser)
	defer r.readers.Put(from)
	if err := from.(flate.Resetter).Reset(bytes.NewReader(small), nil); err != nil {
		return nil, errGarbage
	}
	content, err := io.ReadAll(io.LimitReader(from, maxContent+1))
	if err != nil || len(content) > maxContent {
		return nil, errGarbage
	}
	return content, nil
}
