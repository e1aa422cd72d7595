# The gateway in an image of one static binary and the list of public certificate
# authorities: no shell, no package manager, no user database. Time zones are in the
# binary. It runs as 65532 and writes nowhere but in /var/lib/ebox-gateway, so a
# read-only root is fine.
#
#   docker build --build-arg VERSION=1.0.0 -t ebox-gateway:1.0.0 .
#
# BuildKit, the classic builder and buildah all build it: no instruction here is the
# property of one of them. The same source, Go version and VERSION give the same
# binary, byte for byte; docs/kubernetes.md says how to get the same image.

# The only image that is fetched. A release names it by its digest, a closed network
# by its own registry: --build-arg GO_IMAGE=mirror.example.be/golang@sha256:…
ARG GO_IMAGE=golang:1.26.8-bookworm

FROM ${GO_IMAGE} AS build

# Where modules come from, empty for Go's own choice. In a closed network: a mirror,
# or off with GOFLAGS=-mod=vendor and a vendor folder in the context.
ARG GOPROXY=
ARG GOSUMDB=
ARG GOFLAGS=
# BuildKit fills these in for other platforms; empty is that of the build.
ARG TARGETOS=
ARG TARGETARCH=
ARG VERSION=development
# Seconds since 1970: the time of every file in the image.
ARG SOURCE_DATE_EPOCH=0

WORKDIR /src
COPY . .
# GOTOOLCHAIN=local: the compiler is the image's, never one fetched on the way.
RUN CGO_ENABLED=0 GOTOOLCHAIN=local GOOS=${TARGETOS} GOARCH=${TARGETARCH} \
    go build -trimpath -buildvcs=false -ldflags "-s -w -buildid= -X main.release=${VERSION}" -o /out/gateway ./cmd/gateway
RUN mkdir -p /out/root/etc/ssl/certs /out/root/var/lib /out/state \
 && mkdir -m 1777 /out/root/tmp \
 && mkdir -m 0700 /out/state/ebox-gateway \
 && install -m 0555 /out/gateway /out/root/gateway \
 && install -m 0444 /etc/ssl/certs/ca-certificates.crt /out/root/etc/ssl/certs/ca-certificates.crt \
 && find /out/root /out/state -exec touch -h -d "@${SOURCE_DATE_EPOCH}" {} +

FROM scratch

ARG VERSION=development
ARG REVISION=unknown
LABEL org.opencontainers.image.title="e-Box gateway" \
      org.opencontainers.image.description="The e-Box Enterprise federation and REST/grant/citizen as a plain local HTTP service" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

COPY --from=build /out/root/ /
# The user's own: a volume made from this folder can be written by it.
COPY --from=build --chown=65532:65532 /out/state/ /var/lib/

USER 65532:65532
WORKDIR /var/lib/ebox-gateway
EXPOSE 8080 9090
STOPSIGNAL SIGTERM
# Kubernetes has probes of its own and does not read this.
HEALTHCHECK --interval=10s --timeout=4s --start-period=30s --retries=3 CMD ["/gateway", "healthcheck"]
ENTRYPOINT ["/gateway"]
CMD ["serve", "--config", "/etc/ebox-gateway/config.yaml"]
