package simulator

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
)

// document is the content of an attachment: kept bytes, or bytes that are
// generated while they are read, so that a document of any size takes no memory.
// The same document always has the same bytes, and no two have the same.
type document struct {
	size int64
	tag  string // an entity tag that costs no reading
	kept []byte // the beginning, or all of it

	// pattern is repeated after kept, each time with its number at its start.
	pattern func() []byte

	digest func() string // base64url of the SHA-256, computed once
}

// patternSize is the length of the repeated part, in bytes.
const patternSize = 32 << 10

// keptDocument holds its bytes.
func keptDocument(b []byte) *document {
	d := &document{size: int64(len(b)), kept: b}
	d.digest = sync.OnceValue(d.sum)
	d.tag = `"` + d.digest()[:16] + `"`
	return d
}

// generatedDocument begins with a readable line that holds name, so that a
// document of another enterprise is known at sight, and goes on with bytes that
// follow from name.
func generatedDocument(name string, size int64, text bool) *document {
	head := "e-Box document " + name + "\n"
	if int64(len(head)) > size {
		head = head[:size]
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", name, size))
	d := &document{size: size, kept: []byte(head), tag: `"` + hex.EncodeToString(sum[:8]) + `"`}
	// Made when the document is first read: an e-Box has many that never are.
	d.pattern = sync.OnceValue(func() []byte { return makePattern(name, text) })
	d.digest = sync.OnceValue(d.sum)
	return d
}

func makePattern(name string, text bool) []byte {
	p := make([]byte, patternSize)
	_, _ = rand.NewChaCha8(sha256.Sum256([]byte(name))).Read(p) // it never fails
	if text {
		for i := range p {
			p[i] = ' ' + p[i]%94
			if i%80 == 79 {
				p[i] = '\n'
			}
		}
	}
	return p
}

// generate fills p from the given offset behind kept, up to the end of one
// repetition, and returns how much that was.
func (d *document) generate(p []byte, offset int64) int {
	pattern := d.pattern()
	number, within := offset/patternSize, int(offset%patternSize)
	n := copy(p, pattern[within:])
	var raw [8]byte
	var stamp [2 * len(raw)]byte // hexadecimal, so that text stays text
	binary.BigEndian.PutUint64(raw[:], uint64(number))
	hex.Encode(stamp[:], raw[:])
	if within < len(stamp) {
		copy(p[:n], stamp[within:])
	}
	return n
}

// sum reads the document once to the end.
func (d *document) sum() string {
	h := sha256.New()
	_, _ = io.Copy(h, d.open()) // neither side can fail
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// open gives a reader of its own for the whole document.
func (d *document) open() io.ReadSeeker { return io.NewSectionReader(d, 0, d.size) }

// ReadAt implements io.ReaderAt.
func (d *document) ReadAt(p []byte, at int64) (n int, err error) {
	if left := d.size - at; int64(len(p)) > left {
		p, err = p[:max(left, 0)], io.EOF
	}
	if at < int64(len(d.kept)) {
		n = copy(p, d.kept[at:])
	}
	for n < len(p) {
		n += d.generate(p[n:], at+int64(n)-int64(len(d.kept)))
	}
	return n, err
}

// letterForm is a PDF of one page (ISO 32000-1 §7.5), the main document of a message. What
// differs from letter to letter stands in lines of 60 characters, so that its offsets hold.
//
//go:embed letter.pdf
var letterForm string

// letter fills in the form.
func letter(provider, enterprise, message string) []byte {
	text := letterForm
	for _, line := range [][2]string{
		{"Document Provider: {provider}", provider}, {"For enterprise: {enterprise}", enterprise},
		{"Message: {message}", message},
	} {
		label, _, _ := strings.Cut(line[0], "{")
		text = strings.Replace(text, fmt.Sprintf("%-60s", line[0]), fmt.Sprintf("%-60.60s", label+line[1]), 1)
	}
	return []byte(text)
}
