package call_test

import (
	"net/url"
	"testing"

	"ebox-gateway/internal/call"
	"ebox-gateway/internal/testkit"
)

func TestNewUpstreamRefusesABaseThatCannotBeJoinedTo(t *testing.T) {
	for _, base := range []string{"ftp://h/a", "/a", "https://u:p@h/a", "https://h/a?b", "https://h/a#b",
		"https://h/a/../b", "https://h/a%2fb", "https:///a"} {
		u, err := url.Parse(base)
		testkit.Must(t, err)
		if _, err := call.NewUpstream("x", u, nil, false); err == nil {
			t.Errorf("%s is accepted", base)
		}
	}
}
