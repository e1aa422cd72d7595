package simulator_test

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"ebox-gateway/internal/simulator"
	"ebox-gateway/internal/testkit"
)

func TestAnyPieceOfADocumentIsThatPieceOfTheWhole(t *testing.T) {
	l := newLab(t)
	const block = 32 << 10
	sizes := []int64{0, 1, block, 2*block + 1, 3 * block}
	id, err := l.AddMessage("nsso", mandated, simulator.Draft{Sizes: sizes})
	testkit.Must(t, err)
	get := l.consumer()
	whole := make([][]byte, len(sizes))
	at := func(i int) string {
		return fmt.Sprintf("%s/ebox/messages/%s/attachments/%d/content", l.ProviderURL("nsso"), id, i+1)
	}
	for i, size := range sizes {
		if whole[i] = get("GET", at(i), "").body; int64(len(whole[i])) != size {
			t.Fatalf("%d bytes of %d", len(whole[i]), size)
		}
	}
	if last := whole[len(whole)-1]; bytes.Equal(last[:block], last[block:2*block]) {
		t.Fatal("two blocks are the same: a piece that is sent twice would not show")
	}
	rapid.Check(t, func(t *rapid.T) {
		i := rapid.IntRange(1, len(sizes)-1).Draw(t, "document")
		from := rapid.Int64Range(0, sizes[i]-1).Draw(t, "from")
		to := rapid.Int64Range(from, sizes[i]-1).Draw(t, "to")
		r := get("GET", at(i), "", "Range", fmt.Sprintf("bytes=%d-%d", from, to))
		if r.status != 206 || !bytes.Equal(r.body, whole[i][from:to+1]) {
			t.Fatalf("%d: %d bytes", r.status, len(r.body))
		}
	})
}

func TestTheLetterIsAPDFForTheEnterprise(t *testing.T) {
	l := newLab(t)
	testkit.Must(t, l.SetProvider(simulator.Provider{
		ID: "a-provider-with-a-name-that-is-much-too-long-for-the-line-where-it-stands", APIVersion: "3.0",
	}))
	var length int
	for _, p := range l.Providers() {
		if p.ID != "nsso" && !strings.HasPrefix(p.ID, "a-provider") {
			continue
		}
		r := l.consumer()("GET", p.URL+"/ebox/messages/"+simulator.FirstMessage+"/attachments/1/content", "")
		is(t, r, 200, "(For enterprise: 0206731645", p.ID)
		if length != 0 && length != len(r.body) {
			t.Errorf("%s: %d bytes, the other has %d", p.ID, len(r.body), length)
		}
		length = len(r.body)
		_, at, _ := strings.Cut(string(r.body), "startxref\n")
		at, _, _ = strings.Cut(at, "\n")
		if offset, err := strconv.Atoi(at); err != nil || !bytes.HasPrefix(r.body[offset:], []byte("xref\n")) {
			t.Errorf("%s: startxref points at %s, %v", p.ID, at, err)
		}
	}
}

func TestStartSaysWhatItCannotUse(t *testing.T) {
	certificate := identity().Certificate
	for name, o := range map[string]simulator.Options{
		"an address of nobody":   {Listen: "256.0.0.1:0"},
		"a client without an id": {Clients: []simulator.Client{{Certificate: certificate}}},
		"a client without a key": {Clients: []simulator.Client{{ID: "x"}}},
		"an unknown scope":       {Clients: []simulator.Client{{ID: "x", Certificate: certificate, Scopes: []string{"y"}}}},
	} {
		if s, err := simulator.Start(o); err == nil {
			_ = s.Close()
			t.Errorf("%s: started", name)
		}
	}
}
