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
	const size = 2*block + 1
	id, err := l.AddMessage("nsso", mandated, simulator.Draft{Sizes: []int64{size}})
	testkit.Must(t, err)
	get, document := l.consumer(), l.ProviderURL("nsso")+"/ebox/messages/"+id+"/attachments/1/content"
	whole := get("GET", document, "").body
	if len(whole) != size || bytes.Equal(whole[:block], whole[block:2*block]) {
		t.Fatalf("%d bytes, or two blocks are the same: a piece that is sent twice would not show", len(whole))
	}
	rapid.Check(t, func(t *rapid.T) {
		from := rapid.IntRange(0, size-1).Draw(t, "from")
		to := rapid.IntRange(from, size-1).Draw(t, "to")
		r := get("GET", document, "", "Range", fmt.Sprintf("bytes=%d-%d", from, to))
		if r.status != 206 || !bytes.Equal(r.body, whole[from:to+1]) {
			t.Fatalf("%d: %d bytes", r.status, len(r.body))
		}
	})
}

func TestTheLetterIsAPDFForTheEnterprise(t *testing.T) {
	l := newLab(t)
	path := "/ebox/messages/" + simulator.FirstMessage + "/attachments/1/content"
	r := l.consumer()("GET", l.ProviderURL("nsso")+path, "")
	is(t, r, 200, "(For enterprise: 0206731645", "the letter")
	_, at, _ := strings.Cut(string(r.body), "startxref\n")
	at, _, _ = strings.Cut(at, "\n")
	if offset, err := strconv.Atoi(at); err != nil || !bytes.HasPrefix(r.body[offset:], []byte("xref\n")) {
		t.Errorf("startxref points at %s, %v", at, err)
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
