# Stillpool: every target does its own set-up. "make help" lists them.

STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
FUZZTIME    ?= 10s
ARGS        ?=

# Modules of their own, so that who embeds package server does not inherit what they need.
MODULES = . bench/peers cmd/stillpool/browsertest

.PHONY: help run test bench profile fuzz lint build chromium

help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 10

run: ## serve the demonstration on http://localhost:8080/ (more flags: make run ARGS="--addr :9000")
	go run ./cmd/stillpool serve $(ARGS)

build: ## build bin/stillpool
	go build -o bin/stillpool ./cmd/stillpool

test: chromium ## all tests, with the race detector and a real browser
	@for m in $(MODULES); do (cd $$m && echo "go test ./... in $$m" && go test -race ./...) || exit 1; done

# The browser tests say so themselves if there is no browser; this only tries to have one.
chromium:
	@command -v chromium >/dev/null || { \
		command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ] && \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium >/dev/null; \
	} || echo "chromium is missing and can't be installed by this user: the browser tests will be left out"

bench: build ## Stillpool beside its peers and beside a bare write loop, in about five minutes
	cd bench/peers && go build -o ../../bin/peers .
	bin/peers compare tick --stillpool-bin bin/stillpool --servers stillpool,floor,gws,gorilla --rounds 3 $(ARGS)
	bin/peers compare echo --stillpool-bin bin/stillpool --servers stillpool,gws,gorilla --rounds 3 $(ARGS)

profile: build ## CPU profile of the server under 9,000 ticked connections: its top, and where the file is
	bench/profile.sh bin/stillpool

fuzz: ## every fuzz target for FUZZTIME (10s)
	@for p in $$(go list ./...); do \
		for f in $$(go test -list '^Fuzz' $$p | grep '^Fuzz'); do \
			echo "$$f in $$p" && go test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $$p || exit 1; \
		done; \
	done

lint: ## gofmt, go vet and staticcheck, also for a system without a backend
	@test -z "$$(gofmt -l . | tee /dev/stderr)" || { echo "gofmt: the files above"; exit 1; }
	@for m in $(MODULES); do (cd $$m && go vet ./... && go run $(STATICCHECK) ./...) || exit 1; done
	GOOS=darwin go vet ./netpoll ./server/... ./cmd/...
