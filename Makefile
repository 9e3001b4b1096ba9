# Each target does its own set-up: Python 3.11, pip and make are all that a machine needs (tools/prepare.py says how).
#   PYTHON=python3.12   another interpreter          ARGS="..."   passed on to the program a target runs
PYTHON ?= python3
ARGS ?=
BIN := .venv/bin
PACKAGES := mail rules verdicts smtp spool actions inbound outbound gatepost
CHECKED := $(PACKAGES) tests tools $(wildcard bench samples)

# An older Python could not even read the tools, so this is asked in words that every Python knows.
define prepare
@command -v $(PYTHON) >/dev/null || { echo "set-up failed: there is no $(PYTHON). On Debian: apt-get install python3 python3-pip" >&2; exit 3; }
@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'set-up failed: Gatepost needs Python 3.11 or later, and $(PYTHON) is %d.%d. Name another: make PYTHON=python3.12' % sys.version_info[:2] or 0)"
@$(PYTHON) -m tools.prepare
endef

.DEFAULT_GOAL := help
.PHONY: help serve test install dev engines interop lint format types lock dist torture soak fuzz bench beside clean

help: ## print these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

serve: install ## run the gateway on 127.0.0.1:2525, state in ./var (ARGS="--listen 127.0.0.1:2526")
	@exec $(BIN)/gatepost serve $(ARGS)

test: dev ## run the tests (ARGS="tests/rules -k stop")
	$(BIN)/pytest -q -n auto --dist loadfile $(ARGS)

install: ## prepare .venv; .venv/bin/gatepost is the program
	$(prepare) runtime

dev: ## prepare .venv with what tests and checks need
	$(prepare) dev

engines: ## install what the real-engine tests talk to, from Debian (root or sudo)
	@tools/engines.sh

interop: ## prepare .cache/interop, where AWS's own encryption client reads what we wrote
	$(prepare) interop

lint: dev ## check style and format
	$(BIN)/ruff check $(CHECKED)
	$(BIN)/ruff format --check $(CHECKED)

format: dev ## put the format right
	$(BIN)/ruff format $(CHECKED)

types: dev ## check types, strictly
	$(BIN)/mypy
	$(BIN)/mypy --namespace-packages --explicit-package-bases -m tools.prepare -m tools.pip_settings

lock: ## resolve the dependencies again and write requirements*.lock
	$(prepare) lock

dist: ## build the source distribution and the wheel into dist/
	$(prepare) dist

torture: dev ## run the tests harder (TORTURE=1..100: kills, random cases)
	TORTURE=$${TORTURE:-100} $(BIN)/pytest -q -n auto --dist loadfile --timeout 3600 $(ARGS)

soak: dev ## mixed mail at 70 % of capacity for MINUTES=30: flat memory, no lost message
	PYTHONPATH=.:tests/e2e $(BIN)/python tests/e2e/soak.py

fuzz: ## fuzz what reads strangers' text, a minute each (ARGS="600 spf_record address"); Python 3.11
	$(prepare) fuzz
	PYTHONPATH=.cache/fuzz $(BIN)/python tests/fuzz/long.py $(ARGS)

bench: install ## measure parts of the gateway, and the whole beside plain Python
	$(BIN)/python -m bench $(ARGS)

beside: install ## measure us beside Exim, Postfix and others, half an hour (root, Debian 12; ARGS="--help" says more)
	bench/yardstick/setup.sh
	$(BIN)/python -m bench.beside $(ARGS)

clean: ## remove what the targets above made, but not ./var
	rm -rf .venv .tools .cache dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find $(CHECKED) -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
