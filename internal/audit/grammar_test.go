// These tests stand in the package since they hold the two inner parsers, of lines and of checkpoints.

package audit

import (
	"encoding/base64"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ebox-gateway/internal/testkit"
)

func FuzzParseLine(f *testing.F) {
	written, err := filepath.Glob(filepath.Join("testdata", "format1", "r1", "evidence-*"))
	testkit.Must(f, err)
	for _, file := range written {
		for line := range strings.Lines(testkit.Read(f, file)) {
			f.Add(strings.TrimSuffix(line, "\n"))
		}
	}
	signed := appendSignature(new(link).append(nil, KindStart, time.Now(), nil), make([]byte, noteSignature))
	f.Add(strings.TrimSuffix(string(appendEnd(signed)), "\n"))
	f.Add(`{"seq":1,"prev":"`)
	f.Add(`,"hash":"","sig":""}`)
	f.Fuzz(func(t *testing.T, text string) {
		l := line{text: []byte(text)}
		if !l.parse() {
			return
		}
		// A line that can be taken apart is put together again from its parts alone.
		again := string(l.content) + hashStart + fmt.Sprintf("%x", l.hash)
		if l.signature != nil {
			again += sigStart + base64.StdEncoding.EncodeToString(l.signature)
		}
		if again += lineEnd; again != text {
			t.Errorf("%q\n%q", text, again)
		}
	})
}

// A checkpoint that can be read says no more than its note: made again of its parts, it is the same
// text.
func FuzzReadCheckpoint(f *testing.F) {
	c := checkpoint{replica: "r1", link: link{seq: 7}, time: "2026-11-28T18:00:00Z"}
	c.sign(make([]byte, noteSignature))
	f.Add(strings.TrimSuffix(string(c.line()), "\n"))
	f.Add(`{"note":"ebox-gateway-evidence/r1\n1\n\n\n\n"}`)
	f.Add(testkit.Read(f, filepath.Join("testdata", "format1", "r1", "checkpoints.jsonl")))
	f.Fuzz(func(t *testing.T, text string) {
		c, ok := readCheckpoint(&line{text: []byte(text)})
		if !ok || c.note == "" {
			return
		}
		if !strings.HasPrefix(c.note, c.text()) || !validReplica(c.replica) {
			t.Errorf("%+v is not what %q says", c, c.note)
		}
	})
}
