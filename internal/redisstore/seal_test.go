package redisstore

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"ebox-gateway/internal/testkit"
)

func keyOf(t testkit.T, id string, fill byte) Key {
	t.Helper()
	k, err := newKey(id, bytes.Repeat([]byte{fill}, keySize))
	testkit.Must(t, err)
	return k
}

func ringOf(keys ...Key) *ring { return newRing(keys, "ebox:") }

func TestKeysInEveryNotation(t *testing.T) {
	secret := bytes.Repeat([]byte{0xfb, 0xff}, keySize/2) // has + and / in base64
	want, _ := newKey("k1", secret)
	file := filepath.Join(t.TempDir(), "key")
	if _, err := LoadKey("k1", file); err == nil {
		t.Error("a missing file was taken for a key")
	}
	for text, good := range map[string]bool{
		hex.EncodeToString(secret):                         true,
		strings.ToUpper(hex.EncodeToString(secret)):        true,
		base64.StdEncoding.EncodeToString(secret) + "\r\n": true,
		base64.RawStdEncoding.EncodeToString(secret):       true,
		base64.URLEncoding.EncodeToString(secret):          true,
		"":                                  false,
		"correct horse battery staple 1234": false,
		hex.EncodeToString(secret[:16]):     false,
		base64.StdEncoding.EncodeToString(make([]byte, 33)):            false,
		hex.EncodeToString(secret) + "\n" + hex.EncodeToString(secret): false,
	} {
		testkit.Write(t, file, text)
		k, err := LoadKey("k1", file)
		if (err == nil) != good || good && !k.Same(want) {
			t.Errorf("%q: %v", text, err)
		}
		if !good && text != "" && strings.Contains(err.Error(), text) {
			t.Errorf("the error shows the content: %v", err)
		}
	}
}

func TestAKeyDoesNotShow(t *testing.T) {
	k := keyOf(t, "k1", 'S')
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q", "%d"} {
		if s := fmt.Sprintf(format, k); s != "encryption key k1" {
			t.Errorf("%s shows %s", format, s)
		}
	}
}

func TestWhatIsSealedOpensWhereItBelongs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		first, second := keyOf(t, "k1", 1), keyOf(t, "k2", 2)
		content := rapid.SliceOfN(rapid.Byte(), 0, 2000).Draw(t, "content")
		if rapid.Bool().Draw(t, "repeats") {
			content = bytes.Repeat(content, 10)
		}
		writer := ringOf(first, second)
		at := writer.names(forAnswer, []byte("x"))[0]
		value, err := writer.seal(forAnswer, at, content)
		testkit.Must(t, err)
		for name, reader := range map[string]*ring{"itself": writer, "a replica ahead in rotation": ringOf(second, first),
			"one with the first alone": ringOf(first)} {
			got, err := reader.open(forAnswer, at, value)
			if err != nil || !bytes.Equal(got, content) {
				t.Fatalf("%s: %v", name, err)
			}
		}
		i := rapid.IntRange(0, len(value)-1).Draw(t, "broken at")
		broken := bytes.Clone(value)
		broken[i] ^= byte(rapid.IntRange(1, 255).Draw(t, "by"))
		for name, open := range map[string]func() ([]byte, error){
			"one byte changed":      func() ([]byte, error) { return writer.open(forAnswer, at, broken) },
			"cut short":             func() ([]byte, error) { return writer.open(forAnswer, at, value[:i]) },
			"under another name":    func() ([]byte, error) { return writer.open(forAnswer, at+"x", value) },
			"for another purpose":   func() ([]byte, error) { return writer.open(forToken, at, value) },
			"without the key":       func() ([]byte, error) { return ringOf(second).open(forAnswer, at, value) },
			"another key of the id": func() ([]byte, error) { return ringOf(keyOf(t, "k1", 3)).open(forAnswer, at, value) },
			"no keys at all":        func() ([]byte, error) { return ringOf().open(forAnswer, at, value) },
		} {
			if _, err := open(); err == nil {
				t.Fatalf("%s: it opens", name)
			}
		}
	})
}

func TestAPlainValueIsRefusedWhereKeysAreSet(t *testing.T) {
	plain, err := ringOf().seal(forList, "at", []byte("list"))
	testkit.Must(t, err)
	if _, err := ringOf(keyOf(t, "k1", 1)).open(forList, "at", plain); err == nil ||
		!strings.Contains(err.Error(), "it is not sealed") {
		t.Fatalf("a value that nobody has sealed: %v", err)
	}
	if got, err := ringOf().open(forList, "at", plain); err != nil || string(got) != "list" {
		t.Fatalf("%q, %v", got, err)
	}
}

func TestNamesShowNothingWithoutTheKey(t *testing.T) {
	what := []byte("0206731645")
	a, b := ringOf(keyOf(t, "k1", 1)).names(forAnswer, what), ringOf(keyOf(t, "k1", 2)).names(forAnswer, what)
	if a[0] == b[0] {
		t.Fatal("the name does not depend on the key: the numbers of enterprises could be guessed")
	}
	if strings.Contains(a[0], string(what)) {
		t.Fatal(a[0])
	}
	both := ringOf(keyOf(t, "k2", 2), keyOf(t, "k1", 1)).names(forAnswer, what)
	if len(both) != 2 || both[0] != b[0] || both[1] != a[0] {
		t.Fatal("a replica that rotates does not find what the others have written")
	}
}

func FuzzOpen(f *testing.F) {
	sealed, plain := ringOf(keyOf(f, "k1", 1)), ringOf()
	for _, r := range []*ring{sealed, plain} {
		v, err := r.seal(forAnswer, "at", bytes.Repeat([]byte("x"), 300))
		testkit.Must(f, err)
		f.Add(v)
	}
	f.Add([]byte{version, flagCompressed, 0, 0xff})
	f.Fuzz(func(t *testing.T, value []byte) {
		if content, err := plain.open(forAnswer, "at", value); err == nil && len(content) > maxContent {
			t.Fatal("it grew without bound")
		}
		if _, err := sealed.open(forList, "at", value); err == nil {
			t.Fatal("a value that was never sealed for this was opened")
		}
	})
}
