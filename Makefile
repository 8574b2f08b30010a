# A menu; the work is done by CMake presets and scripts/. `make help` lists it.
PREFIX ?= /usr/local
JOBS   ?= $(shell nproc)
BUILD   = cmake --build --preset

.DEFAULT_GOAL := help
.PHONY: help run test test-interop sim crash-points sim-hunt sim-replay chaos-pg property kills bench bench-parked bench-queues check install bootstrap dev release

help:       ## this list
	@sed -n 's/^\([a-z-]*\): *\([^#]*\)## \(.*\)/  make \1\t\3/p' $(MAKEFILE_LIST) | expand -t 18

run: release   ## install what is missing, build, run the archive job on SQLite
	@demo=build/release/examples/archive/dbos-archive; \
	if [ -x $$demo ]; then $$demo --demo; else echo "make run: $$demo was not built" >&2; exit 1; fi

test: dev   ## install what is missing, build, run all tests (with a private PostgreSQL)
	DBOS_TEST_REQUIRE_POSTGRES=1 scripts/with-postgres ctest --preset dev -j $(JOBS)

test-interop: bootstrap   ## with applications and clients of the published Python and TypeScript SDKs
	@cmake --preset dev --log-level=WARNING
	@$(BUILD) dev -j $(JOBS) --target interop_peer interop_driver interop_ticker interop_fleet
	DBOS_INTEROP_OPTIONAL=1 scripts/with-postgres tests/interop/run build/dev

SEEDS ?= 20000
FIRST ?= 1
sim:        ## simulated worlds, crash points first: make sim SEEDS=20000 FIRST=1 (docs/explanation/simulation.md)
	@scripts/bootstrap
	@cmake --preset sim --log-level=WARNING
	@$(BUILD) sim -j $(JOBS) --target dbos_sim
	build/sim/dbos_sim --crash-points --jobs $(JOBS)
	build/sim/dbos_sim --seeds $(SEEDS) --first $(FIRST) --jobs $(JOBS) $(ARGS)

crash-points: ## a workflow of every operation, with a mishap at each of its database calls, one world each
	@cmake --preset sim --log-level=WARNING
	@$(BUILD) sim -j $(JOBS) --target dbos_sim
	build/sim/dbos_sim --crash-points --jobs $(JOBS) $(ARGS)

sim-hunt:   ## the first seed that finds each planted bug: renews tests/sim/planted.txt
	@cmake --preset sim --log-level=WARNING
	@$(BUILD) sim -j $(JOBS) --target dbos_sim
	build/sim/dbos_sim --hunt --seeds 3000 --jobs $(JOBS) > build/planted.txt
	mv build/planted.txt tests/sim/planted.txt

sim-replay: ## one world with its trace: make sim-replay SEED=17 (ARGS=--points: every switch)
	@cmake --preset sim --log-level=WARNING
	@$(BUILD) sim -j $(JOBS) --target dbos_sim
	build/sim/dbos_sim --replay $(SEED) $(ARGS)

SECONDS ?= 300
POINTS ?= 2000
chaos-pg: dev   ## PostgreSQL behind a hostile proxy, with kills: make chaos-pg SECONDS=300 POINTS=2000 SEED=1
	scripts/with-postgres build/dev/dbos_chaos_pg --tours --points $(POINTS) --seed $(or $(SEED),1)
	DBOS_POSTGRES_OPTIONS="-c track_commit_timestamp=on" scripts/with-postgres \
	  build/dev/dbos_chaos_pg --seed $(or $(SEED),1) --seconds $(SECONDS)

OPERATIONS ?= 200000
property: dev   ## two clients in two processes against a model, on both databases: make property OPERATIONS=200000 SEED=1
	scripts/with-postgres build/dev/dbos_client_property --seed $(or $(SEED),1) --operations $(OPERATIONS)

CALLS ?= 10000
kills: dev      ## the connections of a client are terminated while it works: make kills CALLS=10000 SEED=1
	DBOS_TEST_KILL_CALLS=$(CALLS) DBOS_TEST_SEED=$(or $(SEED),1) scripts/with-postgres \
	  build/dev/chaos_tests --gtest_filter='*ClientKill*'

bench: release   ## benchmarks on this machine, with a private PostgreSQL
	scripts/with-postgres build/release/bench/dbos_bench $(ARGS)

# The rows of a million workflows do not fit the server's default of 128 MiB of buffers.
bench-parked: release   ## a million workflows that sleep in one process (ARGS="--workflows 100000")
	DBOS_POSTGRES_OPTIONS="-c shared_buffers=1GB" scripts/with-postgres sh -c 'exec build/release/bench/dbos_bench_parked "$$DBOS_TEST_POSTGRES_URL" $(ARGS)'

bench-queues: release   ## queues worked off by four processes, and what idle ones cost (ARGS="--only idle")
	DBOS_POSTGRES_OPTIONS="-c shared_preload_libraries=pg_stat_statements" scripts/with-postgres sh -c \
	  'exec build/release/bench/dbos_bench_queues "$$DBOS_TEST_POSTGRES_URL" $(ARGS)'

check:      ## formatting, lint, sanitizers, architecture and installation
	@scripts/bootstrap --check
	scripts/check

install: release   ## install the library: make install PREFIX=/usr/local
	cmake --install build/release --prefix $(PREFIX)

bootstrap:
	@scripts/bootstrap

dev release: bootstrap
	@cmake --preset $@ --log-level=WARNING
	@$(BUILD) $@ -j $(JOBS)
