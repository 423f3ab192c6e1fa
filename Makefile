# Short targets for everything; `make` lists them. Nothing needs to be installed first but python3 (3.11 or newer).
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# What can be set: make test T=tests/mmplatform/messaging, make bench QUICK=1, make chaos CYCLES=20 RELAY=1, or LAST_METRE=1,
# make hostile ONLY=pings,gaps SECONDS=5, make fuzz SECONDS=600 ONLY=packet
PYTHON ?= python3
T ?=
JOBS ?= 2
# The fast tests wait more than they compute.
FAST_JOBS ?= 3
QUICK ?=
RELAY ?=
LAST_METRE ?=
RMB ?=
STORE ?= sqlite
CYCLES ?= $(if $(RELAY)$(LAST_METRE)$(RMB),100,200)
NODES ?= 200
ONLY ?=
SECONDS ?=
SEED ?= 1
VERSION ?=
OUT ?=

BENCH := benchmarks.run
NAT := tests.netns.matrix
CHAOS := $(if $(RMB),tests.chaos.rmb,$(if $(LAST_METRE),tests.chaos.last_metre,tests.chaos))
DHT_SIM := tests.sim.dht
HOSTILE := tests.hostile
BAD_DAYS := tests.bad_days
FUZZING := tests.fuzz
TEST_PARTS := redis-server openssl
BROWSER_PARTS := chromium
TERMINAL_PARTS := tmux
NAT_PARTS := iproute2 nftables
LAB_PARTS := avahi-daemon avahi-utils coturn dbus iproute2 microsocks miniupnpd-nftables nftables tinyproxy-bin
BENCH_PARTS := redis-server mosquitto

VENV := .venv
BIN := $(VENV)/bin
RUN := $(VENV)/.installed-run
DEV := $(VENV)/.installed-dev
DOCS := $(VENV)/.installed-docs
PUBLISHING := $(VENV)/.installed-release
FUZZER := $(VENV)/.installed-fuzz
NPM := $(BIN)/python -m tests.clients.node
PEERS := $(VENV)/.installed-bench
NODE := $(VENV)/.installed-node
CLIENT := clients/js/node_modules/.installed
RMB_CLIENT := tests/rmb_clients/node_modules/.installed
RMB_GRID3 := $(VENV)/grid3/.installed
CLIENT_DOCS := clients/js/docs/node_modules/.installed
SETTINGS := setup.cfg pyproject.toml
UV := $(shell command -v uv)
INSTALL := PYTHONWARNINGS=ignore $(if $(UV),$(UV) pip install --quiet --compile-bytecode --python $(BIN)/python,$(BIN)/python -m pip install --quiet --disable-pip-version-check)

# Where CI is set, nothing may be left out.
IN_CI_FAIL := [ -z "$${CI:-}" ]

# $(call system_parts,packages): as root installs the Debian packages that are missing, else names the command
define system_parts
missing=; for part in $(1); do dpkg -s $$part >/dev/null 2>&1 || missing+=" $$part"; done; \
if [ -z "$$missing" ]; then :; \
elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	echo "== system parts:$$missing"; \
	{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $$missing >/dev/null; } \
		|| { echo "== could not be installed; what needs them is left out"; $(IN_CI_FAIL); }; \
else echo "== missing system parts; install them with: sudo apt-get install$$missing"; fi
endef

# $(call with_client,script): an npm script of clients/js; without its packages (make test installs them) only a word
define with_client
if [ -e $(CLIENT) ] || [ -n "$${CI:-}" ]; then \
	echo "== clients/js: $(1)"; $(MAKE) -s --no-print-directory $(CLIENT) && $(NPM) run --silent $(1); \
else echo "== clients/js: left out; its packages come with: make $(CLIENT)"; fi
endef

# Installs what the tests of the browser client need.
define client_packages
$(MAKE) --no-print-directory $(CLIENT) || { echo "== could not be installed; the tests of the browser client are skipped"; $(IN_CI_FAIL); }
endef

# Installs the genuine clients of RMB.
define rmb_client
$(MAKE) --no-print-directory $(RMB_CLIENT) $(RMB_GRID3) || { echo "== could not be installed; the tests of genuine clients of RMB are skipped"; $(IN_CI_FAIL); }
endef

.PHONY: help demo test test-all check format bench bench-relay chaos hostile bad-days fuzz dht-sim nat docs picture release clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1 /p' $(MAKEFILE_LIST) | while read -r name what; do printf '  make %-11s %s\n' "$$name" "$$what"; done

demo: $(RUN) ## two encrypted peers, a crash and a cut: nothing is lost
	@$(BIN)/mm demo

test: $(DEV) ## the tests that take no seconds each, in some five minutes (T=path for a part of all tests)
	@$(call system_parts,$(TEST_PARTS) $(if $(T),$(BROWSER_PARTS) $(TERMINAL_PARTS) $(LAB_PARTS)))
	@$(client_packages)
	@echo "== pytest $(or $(T),(fast ones, $(FAST_JOBS) at a time))"
	@$(BIN)/python -m pytest $(if $(T),$(T),-n $(FAST_JOBS) --dist worksteal -m "not slow" --durations=25)

test-all: $(DEV) ## every test, with branch coverage
	@$(call system_parts,$(TEST_PARTS) $(BROWSER_PARTS) $(TERMINAL_PARTS) $(LAB_PARTS) $(BENCH_PARTS))
	@$(client_packages)
	@$(rmb_client)
	@echo "== pytest (all, $(JOBS) at a time, with coverage)"
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --durations=25 --cov --cov-report=term

check: $(DEV) ## style, types, import contracts, test vectors; of clients/js too, once its packages are installed
	@echo "== ruff"; $(BIN)/ruff check .; $(BIN)/ruff format --check .
	@echo "== mypy --strict"; $(BIN)/mypy
	@echo "== pyright"; PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright --pythonpath $(BIN)/python
	@echo "== import contracts"; PYTHONPATH=.:relay:services:transports $(BIN)/lint-imports setup.cfg
	@echo "== vectors"; $(BIN)/python docs/protocol/make_vectors.py --check
	@$(call with_client,check)

format: $(DEV) ## put every file into the style that check wants
	@$(BIN)/ruff check --fix .; $(BIN)/ruff format .
	@$(call with_client,format)

bench: $(PEERS) ## this platform beside its peers, one table (QUICK=1: under a minute)
	@$(call system_parts,$(BENCH_PARTS))
	@$(BIN)/python -m $(BENCH) $(if $(QUICK),--quick) $${CI:+--complete}

bench-relay: $(PEERS) ## relays: beside brokers, idle connections, a flood, a dead relay (QUICK=1)
	@$(call system_parts,$(BENCH_PARTS))
	@ulimit -n "$$(ulimit -Hn)"; $(BIN)/python -m benchmarks.relay $(if $(QUICK),--quick)

chaos: $(DEV) ## SIGKILLs and cuts at random points under load (CYCLES=200; RELAY=1 STORE=redis; LAST_METRE=1; RMB=1)
	@PYTHONPATH=.:relay:services:transports $(BIN)/python -m $(CHAOS) --cycles $(CYCLES) $(if $(RELAY),--relay $(STORE)) $(if $(RMB),--store $(STORE))

hostile: $(DEV) ## attacks of one stranger, or one friend, beside honest peers (ONLY=name,name; SECONDS=3; QUICK=1)
	@PYTHONPATH=.:relay:services:transports $(BIN)/python -m $(HOSTILE) $(if $(QUICK),--quick) $(if $(ONLY),--only $(ONLY)) \
		$(if $(SECONDS),--seconds $(SECONDS))

bad-days: $(DEV) ## outages of redis, relays, clusters, networks and browsers, and what all are told (ONLY=name,name; QUICK=1)
	@$(call system_parts,$(TEST_PARTS) $(BROWSER_PARTS) $(LAB_PARTS))
	@$(client_packages)
	@PYTHONPATH=.:relay:services:transports $(BIN)/python -m $(BAD_DAYS) $(if $(QUICK),--quick) $(if $(ONLY),--only $(ONLY))

fuzz: $(FUZZER) ## every parser that takes bytes of others, with atheris (SECONDS=60; ONLY=name,name)
	@PYTHONPATH=.:relay:services:transports $(BIN)/python -m $(FUZZING) --seconds $(or $(SECONDS),60) $(if $(ONLY),--only $(ONLY))

dht-sim: $(DEV) ## the DHT on a lossy, hostile virtual network, beside the stock package (NODES=200 SEED=1)
	@PYTHONPATH=.:relay:services:transports $(BIN)/python -m $(DHT_SIM) --nodes $(NODES) --seed $(SEED)

nat: $(DEV) ## every kind of NAT against every other: how soon a message is there, and the way direct (root)
	@$(call system_parts,$(NAT_PARTS))
	@PYTHONPATH=.:relay:services:transports $(BIN)/python -m $(NAT)

docs: $(DOCS) $(CLIENT_DOCS) ## HTML pages in docs/_build/html, those of clients/js below it
	@$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@$(NPM) run --silent docs
	@echo "docs/_build/html/index.html"

picture: $(RUN) ## the picture of the README, from a real run of mm demo
	@$(BIN)/python -m tools.picture

release: $(PUBLISHING) $(NODE) ## all that is published, in one folder (VERSION=x.y.z, OUT=folder; see docs/release.rst)
	@$(BIN)/python -m tools.release $(if $(VERSION),--version $(VERSION)) $(if $(OUT),--out $(OUT))

clean: ## remove .venv and everything that was made
	rm -rf $(VENV) build dist *.egg-info docs/_build htmlcov .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache \
		.import_linter_cache .hypothesis clients/js/node_modules clients/js/docs/node_modules clients/js/build clients/js/dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# One stamp a set of extras; a newer setup.cfg or pyproject.toml makes it stale.
$(RUN): $(SETTINGS) | $(BIN)/python
	@echo "== installing mm-platform into $(VENV)"
	@$(INSTALL) -e '.[cli,fast,mdns]'
	@$(BIN)/python -m compileall -q mmplatform relay services transports
	@touch $@

$(DEV): $(RUN)
	@echo "== installing what tests and checks need"
	@$(INSTALL) -e '.[cli,tui,fast,keyring,mdns,proxy,webrtc,relay,rmb,test,check,bench]'
	@touch $@

$(DOCS): $(RUN)
	@echo "== installing what the docs need"
	@$(INSTALL) -e '.[docs]'
	@touch $@

$(PUBLISHING): $(RUN)
	@echo "== installing what a release needs"
	@$(INSTALL) -e '.[release]'
	@touch $@

$(FUZZER): $(DEV)
	@echo "== installing the fuzzer"
	@$(INSTALL) -e '.[fuzz]'
	@touch $@

$(PEERS): $(RUN)
	@echo "== installing the peers to measure beside"
	@$(INSTALL) -e '.[bench]'
	@touch $@

# Node.js comes from PyPI: Debian 12 has only an older one.
$(NODE): $(RUN)
	@$(INSTALL) -e '.[node]'
	@touch $@

$(CLIENT): clients/js/package-lock.json | $(NODE)
	@echo "== installing what the browser client needs"
	@$(NPM) ci --loglevel=error --no-audit --no-fund
	@touch $@

# typedoc reads the types of what src/ imports, so the client's own packages are needed, too.
$(RMB_CLIENT): tests/rmb_clients/package-lock.json | $(NODE)
	@echo "== installing the genuine npm client of RMB"
	@$(NPM) ci --prefix ../../tests/rmb_clients --ignore-scripts --loglevel=error --no-audit --no-fund
	@touch $@

$(RMB_GRID3): tests/rmb_clients/requirements.txt | $(RUN)
	@echo "== installing the genuine Python client of RMB"
	@$(INSTALL) --no-deps --require-hashes --target $(VENV)/grid3 -r $<
	@touch $@

$(CLIENT_DOCS): clients/js/docs/package-lock.json | $(CLIENT)
	@echo "== installing what the docs of the browser client need"
	@$(NPM) ci --prefix docs --loglevel=error --no-audit --no-fund
	@touch $@

# Debian's python3 comes without ensurepip, which venv needs; uv needs neither.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "mm-platform needs Python 3.11 or newer; name one with: make PYTHON=python3.11"; exit 1; }
ifdef UV
	@echo "== creating $(VENV) with uv"
	@$(UV) venv --quiet --seed --python $(PYTHON) $(VENV)
else
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { $(call system_parts,python3-venv); }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null \
		|| { echo "$(PYTHON) cannot create virtual environments (no ensurepip); or install uv"; exit 1; }
	@echo "== creating $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)
endif
