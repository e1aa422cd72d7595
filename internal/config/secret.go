package config

import (
	"fmt"
	"log/slog"
)

// Secret is a string that does not print. Only Reveal gives it.
type Secret string

const hidden = "<secret>"

// Reveal gives the secret itself, to whoever has to use it.
func (s Secret) Reveal() string { return string(s) }

// String hides the secret.
func (s Secret) String() string { return hidden }

// Format hides the secret from every verb, %x and %#v among them.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(hidden)) }

// MarshalText hides the secret, from JSON and YAML too.
func (s Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// LogValue hides the secret from slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(hidden) }
