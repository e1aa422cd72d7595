//go:build !redisonly

package gateway

import "ebox-gateway/internal/config"

// memoryOf is how much this process keeps, in bytes.
func memoryOf(c config.Memory) int64 { return int64(c.Memory) }
