package simulator

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// document is the content of an attachment: kept bytes, or bytes that are generated while they
// are read, so that a document of any size takes no memory. The same document always has the
// same bytes, and no two have the same.
type document struct {
	io.ReaderAt // nil if it was too large to keep
	size        int64
	tag         string        // an entity tag that costs no reading
	digest      func() string // base64url of the SHA-256, computed once
}

func newDocument(content io.ReaderAt, size int64, tag string) *document {
	d := &document{ReaderAt: content, size: size, tag: `"` + tag + `"`}
	d.digest = sync.OnceValue(func() string {
		h := sha256.New()
		_, _ = io.Copy(h, d.open()) // neither side can fail
		return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
	})
	return d
}

// keptDocument holds its bytes.
func keptDocument(b []byte) *document {
	sum := sha256.Sum256(b)
	return newDocument(bytes.NewReader(b), int64(len(b)), hex.EncodeToString(sum[:8]))
}

// generatedDocument has name, and so the enterprise, in every one of its blocks.
func generatedDocument(name string, size int64) *document {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", name, size))
	return newDocument(generator{name, size}, size, hex.EncodeToString(sum[:8]))
}

// send serves the document, or the ranges of it that are asked for.
func (d *document) send(c *call) {
	c.w.Header().Set("ETag", d.tag)
	http.ServeContent(c.w, c.r, "", time.Time{}, d.open())
}

// open gives a reader of its own for the whole document.
func (d *document) open() io.ReadSeeker { return io.NewSectionReader(d, 0, d.size) }

// generator reads as a text in blocks of blockSize bytes. Each begins with its number, so that
// a piece that is sent twice or left out shows, and repeats the name, so that a document of
// another enterprise is known at sight.
type generator struct {
	name string
	size int64
}

const blockSize = 32 << 10

func (g generator) block(number int64) string {
	line := "e-Box document " + g.name + "\n"
	return fmt.Sprintf("Block %d\n", number) + strings.Repeat(line, blockSize/len(line)+1)
}

// ReadAt implements io.ReaderAt.
func (g generator) ReadAt(p []byte, at int64) (n int, err error) {
	if left := g.size - at; int64(len(p)) > left {
		p, err = p[:max(left, 0)], io.EOF
	}
	for n < len(p) {
		number, within := (at+int64(n))/blockSize, (at+int64(n))%blockSize
		n += copy(p[n:], g.block(number)[within:blockSize])
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
