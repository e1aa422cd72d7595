# What is not part of ./test.sh, since it needs more than Go and a C compiler.

.PHONY: conformance examples
# The public suite for HTTP caches (npm, Node 20) against a gateway that caches for
# everybody. Fails if a result differs from conformance/expected.json; docs/cache.md
# explains what fails there. STORE=redis keeps everything in a Redis of its own, or in that
# of REDIS_URL, and nothing in memory. SUITE=directory runs another version of the suite,
# made ready there. "make conformance UPDATE=1" writes the results anew.
conformance:
	STORE='$(STORE)' SUITE='$(SUITE)' conformance/run.sh $(if $(UPDATE),--update)

# The programs of docs/examples against a gateway and a simulator. Those whose runtime
# (Python, PHP, Java) is not on this machine are skipped, and named.
examples:
	go test ./docs/examples -count=1 -v
