# The recipes of this repository; CI calls the same ones (.ci/run). Each says what it needs and installs it where it may.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

help: ## What there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

demo: ## A gateway in front of a built-in fake upstream, with three things to paste
	@scripts/install-deps build
	cargo run --quiet --package tollgate -- demo

test: ## All tests: Rust, then the SDKs of Python and Node through a real gateway to a real engine
	@scripts/install-deps test
	@scripts/test-deps
	cargo test --workspace --no-fail-fast
	PATH="$$(dirname "$$(scripts/test-deps --print)"):$$PATH" cargo test --package tollgate-proxy --lib -- --ignored oidc
	cargo build --package tollgate --package tollgate-fake-upstream
	scripts/clients
	scripts/scan-counts

lint: ## Formatting, clippy, whether the fuzz targets build, documentation, and the dependency rules of deny.toml
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo check --locked --manifest-path filters/fuzz/Cargo.toml
	RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" cargo doc --workspace --no-deps --document-private-items
	scripts/deny

counts: ## Writes down how many instructions the scanner takes, for the tests to compare with
	scripts/scan-counts --write

mutants: ## Small changes to the scanner and the limits that no test notices; takes hours, or a part of it: make mutants SHARD=0/8
	@scripts/install-deps build
	scripts/mutants $(if $(SHARD),--shard $(SHARD))

chaos: ## The fault tests, ten rounds of each with more calls; results in docs/chaos.md; ROUNDS=n for more or fewer
	@scripts/install-deps build
	scripts/chaos $(ROUNDS)

bench: ## The gateway against a bare Pingora pass-through; results in bench/results
	@scripts/install-deps build
	cargo build --release --package tollgate --package tollgate-bench
	cargo run --release --quiet --package tollgate-bench -- compare

.PHONY: help demo test lint counts mutants chaos bench
