package whole_test

import (
	"strings"
	"testing"
)

func TestInboxBeforeTheRegistryHasGivenAList(t *testing.T) {
	away := edit("/messageRegistries\n", "/nowhere\n")
	t.Run("nobody is known", func(t *testing.T) {
		h := build(t, away)
		for _, path := range []string{inboxPath, "/enterprises/0206731645/ebox"} {
			if got := h.get(path).want(t, 503); got.header.Get("Retry-After") == "" {
				t.Errorf("%s: %v", path, got.header)
			}
		}
		h.send("PATCH", inboxPath, strings.NewReader(`{"items":[{"providerId":"nsso"}]}`), mergePatch).want(t, 503)
	})
	t.Run("some are known by the configuration", func(t *testing.T) {
		p := &registryOfMail{id: "nsso", counts: true}
		var static string
		own := startRegistries(t, p)
		h := build(t, func(t *testing.T, text string) string {
			for line := range strings.Lines(own(t, text)) {
				if strings.HasPrefix(line, "  providers: [") {
					static = line
				}
			}
			return edit("registry:\n", "registry:\n"+static)(t, away(t, text))
		})
		p.put(some(3))
		l := h.list(t, inboxPath)
		if len(l.Items) != 3 || l.missing() != "*;reason=registry" || l.Total != nil {
			t.Errorf("%d messages, missing %q", len(l.Items), l.missing())
		}
	})
}
