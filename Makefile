# `make test` checks everything; `make demo` shows it. Both do their own set-up.
# One profile (release) serves tests, demo, and benches, so that dependencies are compiled once.

CARGO ?= cargo
ARGS ?=
BENCH ?=
# For `make fuzz` and `make soak`: how long in all.
SECONDS ?= 84
# For `make sim`: how many simulated clusters, and the first one's seed.
SEEDS ?= 1000
FROM ?= 1
# For `make soak`: where the world is kept (redis or embedded), the seed (drawn, if there is none), and how many players (also of the targets after it).
STORE ?= redis
SEED ?=
PLAYERS ?=
# For `make archive`: how long the archive is away, s.
OUTAGE ?=
# For `make accounts`: accounts that come in turn. For `make at-rest`: accounts at rest.
ACCOUNTS ?=
# For `make siege`: packets of garbage in a second, to compare strangers with.
GARBAGE ?= 5000
# One set of features for all checks, so that what they depend on is compiled once.
FEATURES = --features everhold-fuzz/libfuzzer

.PHONY: test lint docs unit bins instructions instructions-accept deny demo bench sim fuzz fuzz-keep udp-floor dist tools redis postgres redis-play soak archive accounts at-rest archive-cost archive-share levels siege iproute2 python fuzzer valgrind

test: lint docs unit instructions fuzz deny

lint: tools fuzzer
	$(CARGO) fmt --all --check
	$(CARGO) clippy --release --workspace --all-targets $(FEATURES) -- -D warnings

docs: tools fuzzer
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --release --workspace $(FEATURES) --no-deps --document-private-items

# Tests of real processes wait more than they compute: four at once for each core.
unit: tools redis postgres iproute2 python fuzzer
	RUST_TEST_THREADS=$${RUST_TEST_THREADS:-$$((4 * $$(nproc)))} $(CARGO) test --release --workspace $(FEATURES)

# 200 players for 90 s on a Redis Cluster, and on three Sentinels, while slots move, primaries die, and shards die: some minutes.
redis-play: tools redis
	REDIS_PLAY_PLAYERS=200 REDIS_PLAY_SECONDS=90 $(CARGO) test --release --workspace $(FEATURES) --test redis play:: -- --nocapture --test-threads 1

# Players who trade while state store, shards, and archive die. For example: make archive PLAYERS=1000 OUTAGE=60
archive: tools redis postgres
	ARCHIVE_PLAYERS=$(PLAYERS) ARCHIVE_OUTAGE_S=$(OUTAGE) $(CARGO) test --release --workspace $(FEATURES) --test shards -- ledger:: restored:: --nocapture --test-threads 1

# Accounts that log in, play, and log out in turn, and find everything again. For example: make accounts ACCOUNTS=100000
accounts: tools redis postgres
	ACCOUNTS=$(ACCOUNTS) $(CARGO) test --release --workspace $(FEATURES) --test shards -- accounts:: --nocapture --test-threads 1

# What accounts at rest cost: as few as play, and many, side by side. For example: make at-rest ACCOUNTS=1000000 PLAYERS=1000
at-rest: tools
	AT_REST=$(ACCOUNTS) AT_REST_PLAYERS=$(PLAYERS) $(CARGO) test --release --workspace $(FEATURES) --test shards -- at_rest:: --nocapture

# Ticks with and without the archive, five windows of 12 s before, while, and after it is away. For example: make archive-cost PLAYERS=1000
archive-cost: tools redis postgres
	ARCHIVE_PLAYERS=$(PLAYERS) ARCHIVE_WINDOWS=5 $(CARGO) test --release --workspace $(FEATURES) --test shards -- archive_cost::ticks --nocapture

# The archive's share of a shard's processor time. For example: make archive-share PLAYERS=3000
archive-share: tools redis postgres
	ARCHIVE_SHARE_PLAYERS=$(PLAYERS) $(CARGO) test --release --workspace $(FEATURES) --test shards -- archive_cost::archive_takes --nocapture

# What each level of durability costs, in turn in one run, on a Redis with one replica. For example: make levels PLAYERS=500
levels: tools redis
	$(CARGO) build --release --workspace --bins $(FEATURES)
	@dir=$$(mktemp -d); trap 'kill $$first $$second 2>/dev/null; wait; rm -rf "$$dir"' EXIT INT TERM; mkdir "$$dir/1" "$$dir/2"; \
	redis-server --port 7471 --bind 127.0.0.1 --dir "$$dir/1" --appendonly yes --min-replicas-to-write 1 --logfile log & first=$$!; \
	redis-server --port 7472 --bind 127.0.0.1 --dir "$$dir/2" --appendonly yes --min-replicas-to-write 1 --logfile log \
	  --replicaof 127.0.0.1 7471 & second=$$!; \
	timeout 20 sh -c 'until redis-cli -p 7472 info replication 2>/dev/null | grep -q master_link_status:up; do sleep 0.2; done'; \
	target/release/everhold demo --compare=replica,store,async --players $(or $(PLAYERS),200) --seconds 16 --store redis://127.0.0.1:7471

# Players on shards, networks, and a store under faults that are drawn from a seed. For example: make soak SECONDS=900 STORE=embedded
soak: tools redis
	SOAK_SECONDS=$(SECONDS) SOAK_SEED=$(SEED) SOAK_PLAYERS=$(PLAYERS) $(CARGO) test --release --workspace $(FEATURES) --test soak is_lost_on_$(STORE) -- --nocapture

# Ten thousand strangers of each kind before two shards, with latencies: some minutes, as root. For example: make siege GARBAGE=15000
siege: tools iproute2
	SIEGE_STRANGERS=10000 SIEGE_GARBAGE_PER_S=$(GARBAGE) $(CARGO) test --release --workspace $(FEATURES) --test shards siege:: -- --nocapture

# All in one go: each package alone would compile the server once more, with features of its own.
bins: tools fuzzer
	$(CARGO) build --release --workspace --bins $(FEATURES)

# The hot paths may not take more instructions than benches/baseline/instructions.json allows.
instructions: bins valgrind
	target/release/instructions check

# Makes what they take now the baseline; the commit says why. Also after a change of the compiler, whose counts are its own.
instructions-accept: bins valgrind
	target/release/instructions accept

# Looks for inputs that break a decoder, the client's machine, or a zone, from the corpus on. For example: make fuzz SECONDS=3600
fuzz: tools fuzzer
	server/fuzz/run $(SECONDS)

# Keeps what `make fuzz` has learnt in the repository, as far as it reaches code that the kept inputs do not.
fuzz-keep: tools fuzzer
	server/fuzz/run keep

# Whole clusters, each from a seed and in one thread, on all cores and in pieces of 500: what breaks, and how often each path was taken.
# It fails if any seed breaks something. For example: make sim SEEDS=10000 FROM=301
sim: tools fuzzer
	$(CARGO) build --release --workspace $(FEATURES) --bin everhold-sim
	target/release/everhold-sim --from $(FROM) --seeds $(SEEDS)

# Licences, duplicate and vulnerable dependencies, where they come from: .deny.toml.
deny:
	@if command -v cargo-deny >/dev/null; then $(CARGO) deny check; \
	else echo "cargo-deny is not installed: dependencies were not checked (cargo install cargo-deny)"; fi

# For example: make demo ARGS="--players 5000 --durability async"
demo: tools
	$(CARGO) run --release -- demo $(ARGS)

# As deployed, which takes some minutes to build. For example: make bench BENCH="--bench tick" ARGS="full_tick/5000"
bench: tools redis
	$(CARGO) bench --profile dist -p everhold-benches $(BENCH) -- $(ARGS)

# Plain UDP and AES-GCM for the same packets, to divide a server's CPU by. For example: make udp-floor ARGS="--out-bytes 300"
udp-floor: tools
	$(CARGO) run --release -p everhold-benches --bin udp-floor -- $(ARGS)

# What to deploy.
dist: tools
	$(CARGO) build --profile dist -p everhold -p client-sim
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

# The tests start PostgreSQL servers of their own. As root on Debian it is installed, without a cluster that would run by itself.
postgres:
	@ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || command -v postgres >/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    mkdir -p /etc/postgresql-common/createcluster.d \
	    && echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.d/everhold.conf \
	    && apt-get update && apt-get install -y --no-install-recommends postgresql \
	    && rm /etc/postgresql-common/createcluster.d/everhold.conf; \
	  else echo "PostgreSQL is missing: install postgresql (13 or newer)" >&2; exit 1; fi; }

# The tests run the example client in Python, in a virtual environment of its own. As root on Debian what it needs is installed.
python: target/python/installed

target/python/installed: protocol/examples/python/requirements.txt
	@python3 -c 'import ensurepip, venv' 2>/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then apt-get update && apt-get install -y --no-install-recommends python3 python3-venv; \
	  else echo "Python is missing: install python3 (3.10 or newer) with venv" >&2; exit 1; fi; }
	python3 -m venv --clear target/python
	target/python/bin/pip install --quiet --disable-pip-version-check -r $<
	@touch $@

# libFuzzer is written in C++. As root on Debian the compiler is installed.
fuzzer:
	@command -v c++ >/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then apt-get update && apt-get install -y --no-install-recommends g++; \
	  else echo "a C++ compiler is missing: install g++ or clang" >&2; exit 1; fi; }

# Tests with network namespaces, which need root, run with it and are skipped without. As root on Debian it is installed.
iproute2:
	@command -v ip >/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then apt-get update && apt-get install -y --no-install-recommends iproute2; \
	  else echo "iproute2 is missing: tests with network namespaces are skipped" >&2; fi; }

# Counts instructions. As root on Debian it is installed.
valgrind:
	@command -v valgrind >/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then apt-get update && apt-get install -y --no-install-recommends valgrind; \
	  else echo "valgrind is missing: install it" >&2; exit 1; fi; }
