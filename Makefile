# Stillpool: every target does its own set-up. "make help" lists them.

STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
FUZZTIME    ?= 10s
FUZZFLAGS   ?=
ARGS        ?=

# Where make bench keeps its results, and how often it measures each server (3, and once beside attackers).
RESULTS ?= bin/results
ROUNDS  ?=

# What make profile profiles.
MODE     ?= cpu
SCENARIO ?= tick
CONNS    ?= 9000
DURATION ?= 10s

# Modules of their own, so that who embeds package server does not inherit what they need.
MODULES = . bench/peers bench/report cmd/stillpool/browsertest server/interop

# What make lint vets beside this machine's architecture: 32 bits, another alignment and memory model, big-endian.
ARCHES = 386 arm64 s390x

# What make test-arch runs with emulation, as GOARCH:emulator, and which tests of package server: those of
# parsing, encoding, bookkeeping and the clauses of the RFCs. Timeouts are too tight for the emulator in others.
# UNEMULATED need TCP_INFO, SIOCOUTQNSD and the like of the kernel, which the emulator does not pass on.
EMULATED = arm:qemu-arm arm64:qemu-aarch64 s390x:qemu-s390x
UNEMULATED = ^Test(AcceptQueue|Acked|UnsentLowWater|SendQueue|ConnectFromSource|ResidentOfThisProcess)$$
PORTABLE = ^(Test(Backlog|Budget|Clauses|Forwarded|Trust|ParseHeader|AppendHeader|Prepared|ParseClose|AppendClose|ValidSoFar|HeadersOf|Head|Inflate|Slide|Squeeze|Origin|ParseOrigin|Preface|Refusal)|Fuzz(Negotiate|Head|Decode|Backlog|Forwarded|Inflate|Preface))

.PHONY: words help run test test-arch bench report tools check million soak profile fuzz lint build chromium node clients proxies qemu

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 11

run: ## serve the demonstration on http://localhost:8080/ (more flags: make run ARGS="--addr :9000")
	go run ./cmd/stillpool serve $(ARGS)

build: ## build bin/stillpool
	go build -o bin/stillpool ./cmd/stillpool

test: chromium node clients proxies ## all tests, with the race detector, a real browser and other clients, and a little fuzzing
	@# The cache of results does not know what a browser, Node or a command that was built depends on.
	@for m in $(MODULES); do (cd $$m && echo "go test ./... in $$m" && go test -race -count=1 ./...) || exit 1; done
	@# So many inputs and not so many seconds: Go 1.26 may take the end of the time for a failure.
	@$(MAKE) --no-print-directory fuzz FUZZTIME=5000x FUZZFLAGS="-fuzzminimizetime 100x"

# Tests that need a browser or Node say so themselves if it is missing; this only tries to have it.
# $(call have,COMMAND,PACKAGES) installs Debian's packages if the command is missing, and have-module if Debian's
# Python has no such module.
have = command -v $(1) >/dev/null || $(call install,$(1),$(2))
have-module = /usr/bin/python3 -c 'import $(1)' 2>/dev/null || $(call install,$(1),$(2))
install = { \
		command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ] && \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $(2) >/dev/null; \
	} || echo "$(1) is missing and can't be installed by this user: the tests that need it will be left out"

chromium:
	@$(call have,chromium,chromium)

# curl's WebSocket is not among the clients: Debian builds curl without it.
clients:
	@$(call have-module,websockets,python3-websockets)
	@$(call have-module,aiohttp,python3-aiohttp)

proxies:
	@$(call have,nginx,nginx-light)
	@$(call have,haproxy,haproxy)
	@$(call have,caddy,caddy)

node:
	@$(call have,npm,nodejs npm)
	@! command -v npm >/dev/null || \
		(cd server/interop/js && npm install --no-save --no-package-lock --no-audit --no-fund --loglevel=error >/dev/null) || \
		echo "Node's packages can't be installed: the tests that need it will be left out"

test-arch: qemu ## tests on 386 and, in an emulator, on arm, arm64 and s390x, in about six minutes
	@for a in $(ARCHES); do for m in $(MODULES); do \
		(cd $$m && echo "GOARCH=$$a go vet ./... in $$m" && GOOS=linux GOARCH=$$a CGO_ENABLED=0 go vet ./...) || exit 1; \
	done; done
	GOARCH=386 CGO_ENABLED=0 go test -count=1 ./netpoll ./server/... ./bench/million
	@for e in $(EMULATED); do \
		if ! command -v $${e#*:} >/dev/null; then [ "$$STILLPOOL_REQUIRE_ALL" != 1 ] || exit 1; continue; fi; \
		echo "go test on $${e%:*}" && export GOARCH=$${e%:*} CGO_ENABLED=0 && \
		go test -count=1 -exec $${e#*:} -skip '$(UNEMULATED)' ./netpoll ./server/wheel ./server/metrics && \
		go test -count=1 -exec $${e#*:} -run '$(PORTABLE)' ./server || exit 1; \
	done

qemu:
	@$(call have,qemu-s390x,qemu-user)

bench: build tools ## Stillpool beside its peers, also beside busy processes, in about 20 minutes: tables, and a page of plots in $(RESULTS)
	bin/peers suite --stillpool-bin bin/stillpool --out $(RESULTS) $(if $(ROUNDS),--rounds $(ROUNDS)) $(ARGS)
	@bin/report html $(RESULTS) >$(RESULTS)/report.html
	@echo && bin/report markdown $(RESULTS) && echo && echo "Plots and all tables: $(RESULTS)/report.html"

report: tools ## the table of README.md, bench/results/report.html and tables.md from bench/results
	bin/report readme bench/results README.md
	bin/report markdown --long bench/results >bench/results/tables.md
	bin/report html bench/results >bench/results/report.html

tools:
	cd bench/peers && go build -o ../../bin/peers .
	cd bench/report && go build -o ../../bin/report .

check: build tools ## hold Stillpool against its budgets beside its peers, quiet and beside two busy processes, in about two hours (less: ARGS=--quick, or ARGS="--only echo-64")
	bin/stillpool bench check $(ARGS)

million: build ## a million connections on this machine, held and overloaded, in about a quarter of an hour (fewer: ARGS="--conns 100000 --hold 1m")
	bin/stillpool bench million $(ARGS)

soak: build ## connections at random against a model, for a minute (longer: ARGS="--duration 1h")
	bin/stillpool bench soak $(ARGS)

profile: build ## profile the server: MODE=cpu|heap|… SCENARIO=tick|echo|… CONNS=9000 DURATION=10s ARGS="--size 1024"
	bin/stillpool bench profile --mode=$(MODE) $(SCENARIO) --conns=$(CONNS) --duration=$(DURATION) $(ARGS)

fuzz: ## every fuzz target for FUZZTIME (10s)
	@for p in $$(go list ./...); do \
		for f in $$(go test -list '^Fuzz' $$p | grep '^Fuzz'); do \
			echo "$$f in $$p" && go test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $(FUZZFLAGS) $$p || exit 1; \
		done; \
	done

words: ## list the words in comments, strings and pages that have a plainer or more exact one
	@go run .ci/words.go

lint: ## gofmt, go vet and staticcheck, also for a system without a backend and for other architectures
	@test -z "$$(gofmt -l . | tee /dev/stderr)" || { echo "gofmt: the files above"; exit 1; }
	@for m in $(MODULES); do (cd $$m && go vet ./... && go run $(STATICCHECK) ./...) || exit 1; done
	GOOS=darwin go vet ./netpoll ./server/... ./cmd/...
	@# What programs embed, and the harness. Other modules and commands: make test-arch, for a cold cache makes each slow.
	@for a in $(ARCHES); do echo "GOARCH=$$a go vet" && GOOS=linux GOARCH=$$a CGO_ENABLED=0 go vet ./netpoll ./server/... ./bench/... || exit 1; done
