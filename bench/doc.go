// Package bench measures what the gateway costs, each number beside that of a bare
// httputil.ReverseProxy that sets the same two headers.
//
// The proxy under test is a process of its own with one P (GOMAXPROCS=1); the
// upstream and the load come from other processes, over loopback sockets. What is
// reported is the proxy process's own CPU time (user and system) and heap
// allocations per request, which do not depend on what else the machine does as
// throughput would.
//
//	go test -run '^$' -bench . ./bench
package bench
