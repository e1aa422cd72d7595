# What is not part of ./test.sh, since it needs more than Go and a C compiler.

.PHONY: conformance examples
# The public suite for HTTP caches (npm, Node 20) against a gateway that caches for
# everybody. Fails if a result differs from conformance/expected.json; docs/cache.md
# explains what fails there. With REDIS_URL=redis://… the same over Redis.
# "make conformance UPDATE=1" writes the results anew.
conformance:
	conformance/run.sh $(if $(UPDATE),--update)

# The programs of docs/examples against a gateway and a simulator. Those whose runtime
# (Python, PHP, Java) is not on this machine are skipped, and named.
examples:
	go test ./docs/examples -count=1 -v
