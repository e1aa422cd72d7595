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
	"strings"
	"sync"

	"ebox-gateway/internal/files"
)

// Key is one encryption key. However it is printed, the secret does not show.
type Key struct {
	id     string
	secret []byte
}

const keySize = 32

// LoadKey reads a key from a file: 32 bytes, in base64 or hex. id is written beside
// what it seals. Errors hold nothing of the file's content.
func LoadKey(id, file string) (Key, error) {
	text, err := files.Text(file, files.Most)
	if err != nil {
		return Key{}, fmt.Errorf("reading encryption key %s: %w", id, err)
	}
	k, err := ParseKey(id, text)
	if err != nil {
		return Key{}, fmt.Errorf("reading encryption key %s from %s: %w", id, file, err)
	}
	return k, nil
}

// ParseKey is LoadKey with the file's content.
func ParseKey(id string, text []byte) (Key, error) {
	if id == "" || len(id) > 32 {
		return Key{}, errors.New("an id of up to 32 characters is needed")
	}
	s := strings.TrimSpace(string(text))
	for _, decode := range []func(string) ([]byte, error){
		hex.DecodeString, base64.StdEncoding.DecodeString, base64.RawStdEncoding.DecodeString,
		base64.URLEncoding.DecodeString, base64.RawURLEncoding.DecodeString,
	} {
		if secret, err := decode(s); err == nil && len(secret) == keySize {
			return Key{id, secret}, nil
		}
	}
	return Key{}, errors.New(`32 random bytes are expected, in base64 or hex: "openssl rand -base64 32" makes them`)
}

// ID is the name of the key.
func (k Key) ID() string { return k.id }

// Same reports whether two keys are the same, secret included.
func (k Key) Same(other Key) bool { return k.id == other.id && hmac.Equal(k.secret, other.secret) }

// String implements fmt.Stringer without the secret.
func (k Key) String() string { return "encryption key " + k.id }

// Format implements fmt.Formatter: every verb prints what String does.
func (k Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, k.String()) }

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
	forToken  purpose = "token"
	forLock   purpose = "lock"
	forList   purpose = "list"
	forAnswer purpose = "answer"
	forNews   purpose = "news"
	forRate   purpose = "gcra"
)

// ring is the keys, ready for use.
type ring struct {
	keys   []*derived // the first seals
	prefix string     // of names
	// writers and readers are kept, since one weighs more than most of what it compresses.
	writers, readers sync.Pool
}

// derived is what is made of one key: one for names, one for values.
type derived struct {
	id            string
	names, values []byte
}

func newRing(keys []Key, prefix string) (*ring, error) {
	r := &ring{prefix: prefix}
	r.writers.New = func() any {
		w, _ := flate.NewWriter(nil, flate.BestSpeed) // the level is a valid one
		return w
	}
	r.readers.New = func() any { return flate.NewReader(nil) }
	for _, k := range keys {
		names, err := hkdf.Expand(sha256.New, k.secret, "ebox-gateway redis names", keySize)
		if err != nil {
			return nil, fmt.Errorf("deriving from encryption key %s: %w", k.id, err)
		}
		values, err := hkdf.Expand(sha256.New, k.secret, "ebox-gateway redis values", keySize)
		if err != nil {
			return nil, fmt.Errorf("deriving from encryption key %s: %w", k.id, err)
		}
		r.keys = append(r.keys, &derived{k.id, names, values})
	}
	return r, nil
}

func (r *ring) sealed() bool { return len(r.keys) > 0 }

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
		mac := hmac.New(sha256.New, k.names)
		mac.Write(what)
		list[i] = r.name(p, mac.Sum(nil))
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
	b := make([]byte, header+saltSize+nonceSize, header+saltSize+nonceSize+len(content)+16)
	b[0], b[1], b[2] = version, flags, byte(len(k.id))
	copy(b[3:], k.id)
	_, _ = rand.Read(b[header:]) // which never fails
	aead, err := k.aead(b[header : header+saltSize])
	if err != nil {
		return nil, err
	}
	nonce := b[header+saltSize:]
	return aead.Seal(b, nonce, content, bound(p, at, b[:header])), nil //nolint:gosec // the nonce was drawn above
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
		k := r.key(id)
		if k == nil {
			return nil, fmt.Errorf("opening a value: it is sealed with key %q, which this replica does not have", id)
		}
		if len(content) < saltSize+nonceSize {
			return nil, errGarbage
		}
		aead, err := k.aead(content[:saltSize])
		if err != nil {
			return nil, err
		}
		nonce, sealed := content[saltSize:saltSize+nonceSize], content[saltSize+nonceSize:]
		if content, err = aead.Open(nil, nonce, sealed, bound(p, at, value[:header])); err != nil {
			return nil, errSeal
		}
	}
	if value[1] == flagCompressed {
		return r.expand(content)
	}
	return content, nil
}

func (r *ring) key(id string) *derived {
	for _, k := range r.keys {
		if k.id == id {
			return k
		}
	}
	return nil
}

// aead is the cipher of one value.
func (k *derived) aead(salt []byte) (cipher.AEAD, error) {
	mac := hmac.New(sha256.New, k.values)
	mac.Write(salt)
	block, err := aes.NewCipher(mac.Sum(nil))
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
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
