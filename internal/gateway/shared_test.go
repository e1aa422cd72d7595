// Inside, since the end of a generation is not seen from outside.

package gateway

import (
	"context"
	"errors"
	"net/url"
	"testing"

	"ebox-gateway/internal/authn"
	"ebox-gateway/internal/config"
	"ebox-gateway/internal/directory"
)

// The first generation may end after the third has begun, while requests of the
// second still wait for a token of the tokens that the first two share: ended with the
// first, those refused them, "stopping".
func TestASharedPartOutlivesTheGenerationThatStartedIt(t *testing.T) {
	tokens := func() *authn.Tokens { return authn.New(authn.Options{}) }
	list := func() *directory.Directory {
		return directory.New(directory.Options{
			Registry: config.Registry{URL: new(url.URL)},
			Fetch: func(context.Context, string) (directory.Answer, error) {
				return directory.Answer{}, errors.New("no registry here")
			},
		})
	}
	first := &generation{carried: carried{tokens: tokens(), directory: list()}}
	second := &generation{carried: carried{tokens: first.tokens, directory: list()}}
	third := &generation{carried: carried{tokens: tokens(), directory: list()}}

	b := newBackground()
	defer b.stop()
	runs := func(r runner) bool {
		b.running.mu.Lock()
		defer b.running.mu.Unlock()
		_, ok := b.running.parts[r]
		return ok
	}
	b.start(first)
	b.start(second)
	b.start(third)
	b.running.leaveAll(first)
	if !runs(second.tokens) || !runs(second.directory) || runs(first.directory) {
		t.Fatal("the first generation ended what the second needs, or not what was its own")
	}
	b.running.leaveAll(first) // is over already
	b.running.leaveAll(second)
	if runs(second.tokens) || runs(second.directory) || !runs(third.tokens) || !runs(third.directory) {
		t.Fatal("what nobody needs goes on, or what the third needs does not")
	}
}
