# Cairn: the few things one does with this repository. `make` lists them.

SHELL := /bin/sh
.DEFAULT_GOAL := help

# rustup installs here, and a shell opened before does not know it yet.
export PATH := $(PATH):$(HOME)/.cargo/bin

CARGO_TARGET_DIR ?= $(CURDIR)/target
export CARGO_TARGET_DIR := $(abspath $(CARGO_TARGET_DIR))

# The target triple is set in .cargo/config.toml; `make release` takes another one.
TRIPLE ?= x86_64-unknown-linux-gnu
CAIRN := $(CARGO_TARGET_DIR)/$(TRIPLE)/debug/cairn
CAIRN_RELEASE := $(CARGO_TARGET_DIR)/$(TRIPLE)/release/cairn
# The black-box tests are a workspace of their own with other features of the
# same libraries.
IN_TESTS := cd tests && CARGO_TARGET_DIR=$(CARGO_TARGET_DIR)/tests

# `make run` keeps its server here.
DATA ?= data
ADDRESS ?= 127.0.0.1:8008

.PHONY: help
help: ## List these targets
	@awk -F ': .*## ' '/^[a-z-]+: .*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: build ## Run a server on 127.0.0.1:8008; its data stays in ./data
	@test -e $(DATA)/cairn.toml || $(CAIRN) init --config $(DATA)/cairn.toml \
		--server-name localhost --data-dir store --listen $(ADDRESS) --administrator admin
	@echo
	@$(CAIRN) invite create --config $(DATA)/cairn.toml
	@echo
	@echo "Open the link above in a browser to create an account; the page says how to go on."
	@echo "Or sign in as admin with a Matrix client (Element, for instance) on the homeserver"
	@echo "http://$(subst 127.0.0.1,localhost,$(ADDRESS)), or in the console, at /console/ there."
	@echo "Ctrl-C stops the server."
	@echo
	@exec $(CAIRN) serve --config $(DATA)/cairn.toml

.PHONY: test
test: lint ## Check everything: formatting, lints, unit tests, black-box tests
	cargo test --workspace
	cargo build -p cairn
	$(IN_TESTS) CAIRN_BINARY=$(CAIRN) cargo test

.PHONY: lint
lint: dependencies-test ## Check formatting and lints only
	cargo fmt --check
	$(IN_TESTS) cargo fmt --check
	cd tests/fuzz && cargo fmt --check
	cargo clippy --workspace --all-targets -- -D warnings
	$(IN_TESTS) cargo clippy --workspace --all-targets -- -D warnings

# The first time, cargo-deny is compiled: that takes some minutes.
.PHONY: deny
deny: ## Check licences, origins and duplicates of what enters the binary
	@cargo deny --version >/dev/null 2>&1 || cargo install cargo-deny --locked
	cargo deny check bans licenses sources

.PHONY: bench
bench: release ## Measure a release build beside the disk it runs on
	$(IN_TESTS) CAIRN_BINARY=$(CAIRN_RELEASE) cargo run --release -p bench

# `LOAD=--long` is the long profile, `LOAD=--help` says what else there is.
.PHONY: load
load: release dependencies-load ## Load Cairn and Synapse turn about and compare them
	$(IN_TESTS) CAIRN_BINARY=$(CAIRN_RELEASE) cargo run --release -p load -- $(LOAD)

SECONDS ?= 7200

.PHONY: soak
soak: release ## Two hours (SECONDS) of mixed load, and what is left of it
	$(IN_TESTS) CAIRN_BINARY=$(CAIRN_RELEASE) cargo run --release -p load -- --soak $(SECONDS)

.PHONY: kills
kills: build ## Kill the server 200 times and cut its power 200 times under load
	$(IN_TESTS) CAIRN_BINARY=$(CAIRN) POWERCUT_KILLS=200 POWERCUT_CUTS=200 \
		cargo test -p powercut -- --nocapture

.PHONY: flood
flood: build ## Flood the server with three million messages of another server
	$(IN_TESTS) CAIRN_BINARY=$(CAIRN) FEDERATION_FLOOD=30000 \
		cargo test -p federation -- --nocapture a_flood_of_messages_fills_nothing

# The first time, everything but RocksDB is compiled once more: that takes ten minutes.
# TARGETS names some of tests/fuzz/targets; all are fuzzed without it.
TARGETS ?=

.PHONY: fuzz
fuzz: SECONDS = 60
fuzz: build ## Feed what reads bytes from outside, SECONDS=60 each
	tests/fuzz/run.sh $(SECONDS) $(TARGETS)

.PHONY: conformance
conformance: specification build ## Hold each answer against the Matrix specification
	$(IN_TESTS) MATRIX_SPEC=$(abspath $(MATRIX_SPEC)) CAIRN_BINARY=$(CAIRN) cargo run -p conformance

# MATRIX_SPEC names the folder `data` of https://github.com/matrix-org/matrix-spec.
.PHONY: specification
specification:
	@test -d "$(MATRIX_SPEC)/api/client-server" || { \
		echo "MATRIX_SPEC=$(MATRIX_SPEC) is not the folder data of the Matrix specification:"; \
		echo "  git clone https://github.com/matrix-org/matrix-spec"; \
		echo "  make conformance MATRIX_SPEC=matrix-spec/data"; exit 1; } >&2

.PHONY: build
build: dependencies ## Build the binary for development
	cargo build -p cairn

.PHONY: release
release: dependencies ## Build the binary for release
	CAIRN_TRIPLE=$(TRIPLE) packaging/release-environment.sh $(CARGO_TARGET_DIR) cargo build --release -p cairn
	@echo "$(CAIRN_RELEASE)"

# What makes and tests packages besides a build: .ci/install-dependencies packages.
PACKAGES ?= $(CARGO_TARGET_DIR)/packages

# Each of the two builds compiles everything: an hour on two processors.
.PHONY: reproducible
reproducible: dependencies-packages ## Build twice in two folders and compare what comes out
	packaging/reproducible.sh

.PHONY: packages
packages: release dependencies-packages ## Make deb, rpm and the offline bundle
	packaging/build.sh $(CAIRN_RELEASE) $(PACKAGES)

.PHONY: test-packages
test-packages: packages ## Install, upgrade, remove and purge them in a Debian (as root)
	packaging/tests/previous.sh $(PACKAGES)/previous
	CAIRN_PREVIOUS=$(PACKAGES)/previous packaging/tests/run.sh $(PACKAGES)

.PHONY: example
example: build ## Write config/cairn.example.toml anew from the options
	$(CAIRN) config example > config/cairn.example.toml.new
	mv config/cairn.example.toml.new config/cairn.example.toml

.PHONY: dependencies
dependencies: ## Install what a build needs (Debian and Ubuntu)
	@.ci/install-dependencies build

.PHONY: dependencies-packages
dependencies-packages:
	@.ci/install-dependencies packages

.PHONY: dependencies-load
dependencies-load:
	@.ci/install-dependencies load

.PHONY: dependencies-test
dependencies-test:
	@.ci/install-dependencies test
