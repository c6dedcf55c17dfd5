#!/bin/sh
# Builds the Debian package for this machine: packaging/build.sh VERSION FOLDER
#
# VERSION is as `git describe` says it. The same sources make the same package, byte for byte. A
# MAINTAINER may be named in the environment.
set -eu
version=$1
mkdir -p "$2"
DIST=$(cd "$2" && pwd)
cd "$(dirname "$0")/.."
: "${GO:=go}"

# dpkg orders 1.2.0 < 1.2.0+3.gabc < 1.2.1, and 0~abc before every release.
case $version in
v[0-9]* | [0-9]*.*) DEB_VERSION=$(printf %s "${version#v}" | sed 's/-/+/; s/-/./g') ;;
*) DEB_VERSION=0~$(printf %s "$version" | tr -- - .) ;;
esac
ARCH=$($GO env GOARCH)
: "${MAINTAINER:=sidecar <root@localhost>}"
: "${SOURCE_DATE_EPOCH:=$(git log -1 --format=%ct 2>/dev/null || echo 0)}"
export DIST DEB_VERSION ARCH MAINTAINER SOURCE_DATE_EPOCH
export GOWORK=off

# Static, so that it runs on every distribution.
CGO_ENABLED=0 $GO build -trimpath -ldflags "-s -w -X main.release=$version" -o "$DIST/sidecar" ./cmd/sidecar
$GO run ./packaging/generate "$DIST/sidecar" "$DIST"
$GO tool -modfile=tools/nfpm/go.mod nfpm package --config packaging/nfpm.yaml --packager deb --target "$DIST"
