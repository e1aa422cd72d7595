package server

import (
	"fmt"
	"runtime/debug"
)

// panicError carries a panic into the log; nothing of it reaches the caller.
type panicError struct {
	value any
	stack []byte
}

func (p panicError) Error() string { return fmt.Sprintf("panic: %v\n%s", p.value, p.stack) }

func stack() []byte { return debug.Stack() }
