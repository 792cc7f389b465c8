# `make test` checks everything; `make demo` shows it. Both do their own set-up.
# One profile (release) serves tests, demo, and benches, so that dependencies are compiled once.

CARGO ?= cargo
ARGS ?=

.PHONY: test lint docs unit deny demo bench dist tools redis

test: lint docs unit deny

lint: tools
	$(CARGO) fmt --all --check
	$(CARGO) clippy --release --workspace --all-targets -- -D warnings

docs: tools
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --release --workspace --no-deps --document-private-items

unit: tools redis
	$(CARGO) test --release --workspace

# Licences, duplicate and vulnerable dependencies, where they come from: .deny.toml.
deny:
	@if command -v cargo-deny >/dev/null; then $(CARGO) deny check; \
	else echo "cargo-deny is not installed: dependencies were not checked (cargo install cargo-deny)"; fi

# For example: make demo ARGS="--players 5000 --durability async"
demo: tools
	$(CARGO) run --release -- demo $(ARGS)

# For example: make bench ARGS="full_tick/5000"
bench: tools redis
	$(CARGO) bench -p everhold-benches -- $(ARGS)

# What to deploy.
dist: tools
	$(CARGO) build --profile dist --bin everhold --bin client-sim
	@ls -lh target/dist/everhold target/dist/client-sim

# Rust with its formatter and linter, and a C compiler (for SQLite, ring, and mimalloc). As root on Debian the compiler is installed.
tools:
	@command -v $(CARGO) >/dev/null || { echo "Rust is missing: see https://rustup.rs" >&2; exit 1; }
	@command -v cc >/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev; \
	  else echo "a C compiler is missing: install gcc or clang" >&2; exit 1; fi; }
	@$(CARGO) fmt --version >/dev/null 2>&1 && $(CARGO) clippy --version >/dev/null 2>&1 \
	  || rustup component add rustfmt clippy

# The tests start Redis servers of their own, and so does the bench of the stores. As root on Debian it is installed.
redis:
	@command -v redis-server >/dev/null && command -v redis-sentinel >/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then apt-get update && apt-get install -y --no-install-recommends redis-server redis-sentinel; \
	  else echo "Redis is missing: install redis-server and redis-sentinel (7.0 or newer)" >&2; exit 1; fi; }
