// Package wire speaks HTTP/1.1 (RFC 9112) the way a gateway needs it: a proxy has to see what a client library for
// applications hides.
//
// The first half is the grammar that both directions share: Reader takes the head of a message out of a connection's
// bytes, ParseFraming says how long its body is, Chunks and the Append functions read and write the chunked coding.
//
// The second half is the client. Transport sends one request at a time over a connection, on the caller's own
// goroutine; only while a body of unknown or considerable length goes up there is a second one. Its promises:
//
//   - What comes back is exactly one answer, or the connection is closed. Bytes that no request asked for are never
//     read as an answer: a connection is looked at before it is used again, and rests before it serves another party.
//   - An answer is whole or its body ends in an error. Without a length, over TLS, only close_notify makes it whole.
//   - An answer that arrives while the request's body is still going up is the caller's.
//   - Error.Sent is false exactly if no byte of the request can have been read by the upstream.
//
// Nothing that came over a connection is ever part of an error's text.
package wire
