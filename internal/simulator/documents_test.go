package simulator

import (
	"bytes"
	"io"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestAnyPieceOfADocumentIsThatPieceOfTheWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.Int64Range(0, 3*blockSize).Draw(t, "size")
		d := generatedDocument("x", size)
		whole, err := io.ReadAll(d.open())
		if err != nil || int64(len(whole)) != size {
			t.Fatalf("%d bytes, %v", len(whole), err)
		}
		if size > 2*blockSize && bytes.Equal(whole[:blockSize], whole[blockSize:2*blockSize]) {
			t.Fatal("two blocks are the same: a piece that is sent twice would not show")
		}
		from := rapid.Int64Range(0, size).Draw(t, "from")
		r := d.open()
		if _, err := r.Seek(from, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		piece := make([]byte, rapid.Int64Range(0, size-from).Draw(t, "length"))
		if _, err := io.ReadFull(r, piece); err != nil || !bytes.Equal(piece, whole[from:from+int64(len(piece))]) {
			t.Fatalf("the piece from %d of %d bytes differs (%v)", from, len(piece), err)
		}
	})
}

func TestALetterIsAPDF(t *testing.T) {
	text := string(letter("a provider with a name that is much too long for the line where it stands", "0206731645", "7"))
	if len(text) != len(letterForm) || !strings.Contains(text, "(For enterprise: 0206731645") ||
		strings.Contains(text, "{") {
		t.Errorf("%q", text)
	}
	_, at, _ := strings.Cut(text, "startxref\n")
	at, _, _ = strings.Cut(at, "\n")
	if offset, err := strconv.Atoi(at); err != nil || !strings.HasPrefix(text[offset:], "xref\n") {
		t.Errorf("startxref points at %s, %v", at, err)
	}
}

func TestStartSaysWhatItCannotUse(t *testing.T) {
	for name, o := range map[string]Options{
		"an address of nobody":   {Listen: "256.0.0.1:0"},
		"a client without an id": {Clients: []Client{{Certificate: identity().Certificate}}},
		"a client without a key": {Clients: []Client{{ID: "x"}}},
		"an unknown scope":       {Clients: []Client{{ID: "x", Certificate: identity().Certificate, Scopes: []string{"y"}}}},
	} {
		if s, err := Start(o); err == nil {
			_ = s.Close()
			t.Errorf("%s: started", name)
		}
	}
}
