// Package docs holds the pages for people; its tests hold them against the program.
package docs

import "embed"

// Pages are the pages for people, which the gateway itself shows to whoever operates it.
//
//go:embed *.md callers/*.md decisions/*.md
var Pages embed.FS
