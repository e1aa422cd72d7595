# What is not part of ./test.sh, since it needs more than Go and a C compiler.

.PHONY: conformance
# The public suite for HTTP caches (npm, Node 20) against a gateway that caches for
# everybody. Fails if a result differs from conformance/expected.json; docs/cache.md
# explains what fails there. With REDIS_URL=redis://… the same over Redis.
# "make conformance UPDATE=1" writes the results anew.
conformance:
	conformance/run.sh $(if $(UPDATE),--update)
