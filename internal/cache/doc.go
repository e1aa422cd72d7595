// Package cache keeps upstreams' answers and gives them again: a shared cache by
// RFC 9111 within each partition, and never across one.
//
// A Partition says whose answers these are: OAuth client, scopes, represented
// enterprise and upstream. Every Key is made from one, so that a key without the
// enterprise cannot be written; it is the partition in the key that meets RFC 9111,
// section 3.5. What is kept is the upstream's own bytes and header.
//
// The policy (policy.go, freshness.go, validation.go, ranges.go) is pure functions
// over a request, a stored answer and the time: RFC 9111 and 9110, and RFC 5861 for
// answers past their lifetime. RFC 9213's targeted fields are for the caches of whoever
// sets them, content delivery networks, and this is none: they pass as they came.
//
// Writes invalidate by counting. Each enterprise at an upstream has a counter, its
// epoch; an answer is kept with the epochs under which its request began and counts
// only while they are the same. A write moves the epoch on before its answer leaves,
// so what is older is gone at once, wherever it is kept, and a read begun before the
// write cannot put old data back. Cache-Status (RFC 9211) says what was done.
package cache
