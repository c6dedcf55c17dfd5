# make help lists the targets.

GO      ?= go
BIN     ?= bin/sidecar
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS  = -s -w -X main.release=$(VERSION)
FUZZ    ?= 30s

# go.mod names what is built and tested; a go.work above this folder has no say.
export GOWORK = off

.PHONY: help
help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/sidecar
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/sidecar

.PHONY: deb
deb: ## build the Debian package, into dist
	GO='$(GO)' packaging/build.sh '$(VERSION)' dist

.PHONY: demo
demo: build ## run the demo: a sidecar in front of three small servers
	$(BIN) demo

.PHONY: test
test: consul lint ## everything: lint, unit and integration tests, tests of the data path under the race detector
	$(GO) test $(TESTFLAGS) ./...
	$(GO) test -race $(TESTFLAGS) ./internal/eventloop/... ./proxy/... ./upstream/... ./breaker/... ./balancer/... ./limiter/... ./internal/window/... ./metrics/... ./accesslog/... ./tap/... ./tracing/... ./admin/... ./internal/daemon/... ./internal/spool/... ./internal/inherit/... ./internal/secure/...

.PHONY: test-deps
test-deps: ## install what tests need besides Go: etcd, Redis, ip, curl, h2load, Chromium, systemd (Debian, needs root)
	apt-get update
	DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends etcd-server redis-server iproute2 curl nghttp2-client chromium systemd groff-base util-linux

.PHONY: race
race: consul ## every test under the race detector
	$(GO) test -race $(TESTFLAGS) ./...

.PHONY: consul
consul: # the real Consul agent that tests need; built once, into .cache
	@$(GO) run ./internal/consultest/build

.PHONY: lint
lint: ## golangci-lint with the bans of .golangci.yml
	$(GO) tool -modfile=tools/lint/go.mod golangci-lint run ./...

.PHONY: bench
bench: ## wrk and h2load against sidecar, HAProxy and nginx, in turns (needs bench-deps)
	$(GO) run ./bench $(BENCH)

.PHONY: bench-deps
bench-deps: ## install wrk, h2load, HAProxy and nginx (Debian, needs root)
	apt-get update
	apt-get install -y --no-install-recommends wrk nghttp2-client haproxy nginx-light libnginx-mod-stream

.PHONY: sim
sim: ## simulate thousands of sidecars in an outage, in virtual time
	$(GO) run ./bench/sim $(SIM)

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZ (30s each)
	@for p in $$($(GO) list ./...); do \
	  for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz'); do \
	    echo "$$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZ) -fuzzminimizetime 10x $$p || exit 1; \
	  done; \
	done
