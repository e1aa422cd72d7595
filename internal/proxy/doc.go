// Package proxy is one exchange with an upstream: the request on its way there,
// the answer on its way back, and what the caller gets to see when it fails.
//
// Going out, the path is joined to the upstream's base and cannot leave it
// (RFC 3986), the query goes byte for byte, headers that are hop-by-hop
// (RFC 9110, section 7.6.1) or the gateway's own under any alias are dropped, and
// the body streams; its first 64 KiB are kept so that it can be sent once more.
// Coming back, the answer is the upstream's, but for hop-by-hop headers and a few
// that speak for an origin which the gateway is not; links into the upstream
// become links into the gateway, and what is cut short upstream is cut short for
// the caller (RFC 9112, section 8). Via (RFC 9110, section 7.6.3) and
// Proxy-Status (RFC 9209) say that and how the gateway took part; its own errors
// are problem documents (RFC 9457).
//
// The package does not know which enterprise a call is for or which token goes
// with it: the caller of Serve hands in headers to set, and the upstream stack
// below adds the credentials. It stands where httputil.ReverseProxy would and does
// less work per request: one header map each way, pooled buffers, no client trace.
package proxy
