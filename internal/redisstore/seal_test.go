package redisstore_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"ebox-gateway/internal/redisstore"
	"ebox-gateway/internal/redistest"
	"ebox-gateway/internal/testkit"
)

func TestKeysInEveryNotation(t *testing.T) {
	secret := bytes.Repeat([]byte{0xfb, 0xff}, 16) // has + and / in base64
	file := filepath.Join(t.TempDir(), "key")
	if _, err := redisstore.LoadKey("k1", file); err == nil {
		t.Error("a missing file was taken for a key")
	}
	testkit.Write(t, file, hex.EncodeToString(secret))
	want, err := redisstore.LoadKey("k1", file)
	testkit.Must(t, err)
	for text, good := range map[string]bool{
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
		k, err := redisstore.LoadKey("k1", file)
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

// A value is opened only as it was sealed, by a replica with its key, under the name that it was sealed for.
func TestWhatIsSealedOpensWhereItBelongs(t *testing.T) {
	server := redistest.Start(t)
	first, second := keyOf(t, "k1", 1), keyOf(t, "k2", 2)
	type reader struct {
		list *redisstore.List
		at   string // its name in Redis
	}
	of := func(registry string, keys ...redisstore.Key) reader {
		server.Do("FLUSHALL")
		l := idle(t, single(server), withKeys(keys...)).List(registry)
		l.Store(t.Context(), nil)
		return reader{l, nameOf(t, server, "list")}
	}
	writer := of("a", first, second)
	may := map[string]reader{
		"itself": writer, "a replica ahead in rotation": of("a", second, first), "one with the first alone": of("a", first),
	}
	mayNot := map[string]reader{
		"without the key": of("a", second), "another key of the id": of("a", keyOf(t, "k1", 3)), "no keys at all": of("a"),
		"under another name": of("b", first),
	}
	rapid.Check(t, func(rt *rapid.T) {
		content := rapid.SliceOfN(rapid.Byte(), 0, 2000).Draw(rt, "content")
		if rapid.Bool().Draw(rt, "repeats") {
			content = bytes.Repeat(content, 10)
		}
		writer.list.Store(t.Context(), content)
		for name, r := range may {
			if got, _, err := r.list.Load(t.Context()); err != nil || !bytes.Equal(got, content) {
				rt.Fatalf("%s: %v", name, err)
			}
		}
		value := server.Do("GET", writer.at).(string)
		i := rapid.IntRange(0, len(value)-1).Draw(rt, "broken at")
		broken := []byte(value)
		broken[i] ^= byte(rapid.IntRange(1, 255).Draw(rt, "by"))
		refused := func(name string, r reader, value any) {
			server.Do("SET", r.at, value)
			if _, _, err := r.list.Load(t.Context()); err == nil {
				rt.Fatalf("%s: it opens", name)
			}
		}
		refused("one byte changed", writer, broken)
		refused("cut short", writer, value[:i])
		for name, r := range mayNot {
			refused(name, r, value)
		}
	})
}

func TestAPlainValueIsRefusedWhereKeysAreSet(t *testing.T) {
	server := redistest.Start(t)
	plain, sealed := idle(t, single(server), withKeys()), idle(t, single(server))
	sealed.List("a").Store(t.Context(), []byte("list"))
	at := nameOf(t, server, "list")
	server.Do("DEL", at)
	plain.List("a").Store(t.Context(), []byte("list"))
	server.Do("RENAME", nameOf(t, server, "list"), at)
	if _, _, err := sealed.List("a").Load(t.Context()); err == nil {
		t.Error("a value that nobody has sealed is used")
	}
	if s := sealed.Status(); !strings.Contains(s.Reason, "it is not sealed") {
		t.Errorf("nobody is told: %+v", s)
	}
}

func TestNamesDependOnTheKey(t *testing.T) {
	server := redistest.Start(t)
	names := make(map[string]bool)
	for _, keys := range [][]redisstore.Key{nil, {keyOf(t, "k1", 1)}, {keyOf(t, "k1", 2)}} {
		server.Do("FLUSHALL")
		r := idle(t, single(server), withKeys(keys...))
		_, err := r.Spend(t.Context(), nil, "enterprise "+number.String(), rate(60), 1, false)
		testkit.Must(t, err)
		names[nameOf(t, server, "gcra")] = true
	}
	if len(names) != 3 {
		t.Errorf("the numbers of enterprises could be guessed: %v", names)
	}
}
