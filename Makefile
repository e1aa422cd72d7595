# What people of this house run. ./test.sh is what continuous integration runs.

.PHONY: build test lint generate bench conformance examples release

build:
	go build -o gateway ./cmd/gateway

# Everything, with the race detector. Installs what is missing, see test.sh.
test:
	./test.sh

# golangci-lint with .golangci.yml in every module, built the first time, which takes minutes.
# The version is fixed: a new one is a change to look at.
lint:
	for module in . test/k8s test/browser bench/soak; do (cd $$module && \
		go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0 run) || exit 1; done

# Every committed file that is made from others. Review the difference before you commit it.
generate:
	go test ./internal/config -update
	go test ./internal/operate/status -update
	go test ./internal/gateway -run Reference -update
	go -C test/k8s test . -run TestTheComponentHasTheAlertsOfDeploy -update

bench:
	go test -run '^$$' -bench . ./bench

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

# dist/: archives, SBOM, chart, checksums, and with KEY=file their signature. See docs/release.md.
release:
	@test -z "$$(git status --porcelain)" || { echo "there are changes that are not committed: a release is made from a commit"; exit 1; }
	go run ./tools/release -version '$(VERSION)' -time "$$(git log -1 --format=%ct)" $(if $(KEY),-key '$(KEY)')
