// Package audit keeps the evidence of who read or changed what in an e-Box, for whom
// and when, so that nobody can later deny it or quietly change it.
//
// A record is a line of JSON (RFC 8259). Each holds the SHA-256 of the one before it,
// so that none can be changed, taken out or moved without breaking the chain behind
// it; signed records (Ed25519, RFC 8032) at least once a minute keep the whole chain
// from being made anew by somebody who has the files and not the key. Signed records
// also go to a file or stream of their own: shipped off the machine at once, they
// show when the end of the chain was cut off.
//
// What a write is about to do is on disk before it is sent; many at once share one
// sync. Reads cost their caller an append to a queue in memory and are on disk within
// a second. What the queue, or a process that was killed, lost is said in the chain itself. When
// the disk fails, records wait in memory and the chain goes on where it was.
//
// Records lie in segments, one a day or more, that are compressed (gzip, RFC 1952) when
// they are ended, without a change to any line, and dropped when their legal end is past; a signed
// record of the drop is what the rest is verified from.
//
// A reader follows a record from package evidence, which decides that there is one, to log.go
// (the queue), writer.go (lines on disk with one sync, and the files that they are in), line.go (a
// line), sign.go and ship.go (signatures and where they go), keep.go (compressing and dropping). What
// reads begins in files.go and read.go: recover.go at a start, verify.go, search.go, export.go.
package audit
