package links_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"ebox-gateway/internal/links"
)

// BenchmarkRewrite goes through a page of eight messages, about 4 KB, with one link each.
func BenchmarkRewrite(b *testing.B) {
	var page strings.Builder
	page.WriteString(`{"items":[`)
	for i := range 8 {
		fmt.Fprintf(&page, `{"messageId":"%036d","subject":{"nl":"Bijdragebericht","fr":"Avis de cotisation"},`+
			`"receiptDate":"2026-11-%02dT09:26:00Z","senderOrganizationId":"0206731645","messageTypeId":"contribution",`+
			`"readStatus":false,"attachments":[{"attachmentId":"1","fileName":"bericht.pdf","mainContent":true,`+
			`"mediaType":"application/pdf","size":1800.0,"contentHref":"/base/ebox/messages/%036d/attachments/1/content"}]},`,
			i, i+1, i)
	}
	page.WriteString(`{}],"totalItems":8,"_links":{"self":{"href":"/base/ebox/messages?page=1"}}}`)
	base, err := url.Parse("https://upstream.example/base")
	if err != nil {
		b.Fatal(err)
	}
	forms := links.NewForms(base, "/base")
	w := links.Rewriter{Links: links.NewMap(&forms, links.Base{Origin: "http://localhost", Prefix: "/ebox/providers/a"})}
	text := []byte(page.String())
	dst := make([]byte, 0, 2*len(text))
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		dst = w.End(w.Write(dst[:0], text))
	}
}
