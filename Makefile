# `make` or `make help` lists what there is. CI runs `make test` (.ci/run).

GO ?= go
NPM = npm --no-audit --no-fund
E2E ?=
FUZZTIME ?= 20s
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2

.DEFAULT_GOAL := help
.PHONY: help run build test check test-go test-console interop e2e lint fmt docs bench fuzz console

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## start a development server on this machine
	$(GO) run ./cmd/concertina dev

build: ## build bin/concertina, pages included
	$(GO) build -trimpath -o bin/concertina ./cmd/concertina

test: check test-console test-go interop e2e ## everything that must pass

check: ## gofmt and go vet
	@unformatted="$$(git ls-files -z -- '*.go' | xargs -0 -r ls 2>/dev/null | xargs gofmt -l)"; \
	if [ -n "$$unformatted" ]; then echo "not formatted (make fmt):"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...

test-go: ## Go tests with the race detector
	$(GO) test -race ./...

interop: ## LiveKit's stock Go SDK against our server
	cd test/interop && $(GO) vet ./... && $(GO) test -count=1 ./...

e2e: test/e2e/node_modules/.package-lock.json ## stock clients in Chromium, Firefox and Node; E2E=pair runs one
	cd test/e2e && $(NPM) test -- $(E2E)

test-console: console/node_modules/.package-lock.json ## types, unit tests, and that dist is up to date
	cd console && $(NPM) run check && $(NPM) test
	cd console && $(NPM) run build
	@changed="$$(git status --porcelain -- console/dist)"; \
	if [ -n "$$changed" ]; then echo "console/dist is not what its sources build (make console, commit it):"; echo "$$changed"; exit 1; fi

console: console/node_modules/.package-lock.json ## build the pages into console/dist
	cd console && $(NPM) run build

%/node_modules/.package-lock.json: %/package-lock.json
	cd $* && $(NPM) ci
	@touch $@

lint: check ## check, the architecture rules and staticcheck
	$(GO) test ./internal/archtest
	$(GO) run $(STATICCHECK) -checks inherit,-SA1019 ./...

fmt: ## format all Go files
	git ls-files -z -- '*.go' | xargs -0 gofmt -w

docs: ## regenerate docs/reference
	$(GO) test ./internal/server -run TestReferenceIsCurrent -update

bench: ## benchmarks, allocations included
	$(GO) test -run '^$$' -bench . -benchmem ./...

fuzz: ## every fuzz test for FUZZTIME (20s)
	@set -e; $(GO) list -f '{{.Dir}}' ./... | while read -r dir; do \
	  for f in $$(grep -hos '^func Fuzz[A-Za-z0-9_]*' "$$dir"/*_test.go | sed 's/^func //'); do \
	    echo "$$dir $$f"; (cd "$$dir" && $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) .); \
	  done; \
	done
