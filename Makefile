# Everything a person does with a checkout. Needs python3 (3.11 or newer), make and the package registries.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
LOCK := $(BIN)/uv pip compile --generate-hashes --universal --python-version 3.11 --no-header --no-emit-index-url \
	--no-annotate --quiet
# Tests that run at the same time.
WORKERS ?= 2
# Which acceptance tests `make proxied` runs.
ONLY ?= tests/acceptance
# Where the formatter and the linter look.
CODE := receiver tests benchmarks

.DEFAULT_GOAL := help
.PHONY: help setup run demo servers schemas peers browser kubectl test screenshots proxied bench chaos lint format types layers check lock clean

help: ## list the targets
	@echo 'make TARGET, where TARGET is one of'
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1\t\2/p' Makefile | expand -t 14

setup: $(STAMP) ## make the virtual environment with the locked packages (again when a lock file has changed)

$(STAMP): requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'Python 3.11 or newer is needed: make PYTHON=python3.12 …'; exit 1; }
	@echo 'setup 1/3: virtual environment $(VENV)'
	@$(PYTHON) -m venv $(VENV) || { echo 'python3 has no venv module: install the Debian package python3-venv'; exit 1; }
	@echo 'setup 2/3: locked packages, checked by their hashes'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes \
		-r requirements-dev.lock
	@echo 'setup 3/3: mtv-receiver itself'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

run: $(STAMP) ## start the service and a sandbox in place of Slack, PagerDuty and Jira; Ctrl-C ends both
	@$(BIN)/python -m receiver.sandbox.run

demo: $(STAMP) ## play one failure from its alert to its end, in the terminal; ends by itself
	@$(BIN)/python -m receiver.sandbox.demo

servers: ## install the programs that tests run against, where this may be done (root, Debian)
	@.ci/servers

schemas: ## make JSON Schemas of what vendors publish about their requests (npm); tests check every request by them
	@.ci/schemas

peers: $(STAMP) ## fetch servers that others wrote and that tests talk to (npm)
	@.ci/peers

browser: ## fetch what judges the accessibility of our pages (npm)
	@.ci/browser

kubectl: $(STAMP) ## fetch a kubectl, with which tests render what is in deploy/
	@.ci/kubectl

test: $(STAMP) servers schemas peers browser kubectl ## run all tests
	@$(BIN)/python -m pytest -n $(WORKERS) --dist load --maxschedchunk 8

screenshots: $(STAMP) servers ## take the pictures of the web pages in docs/pictures, of a made-up night
	@$(BIN)/python -m tests.browser.screenshots

proxied: $(STAMP) servers ## run the acceptance tests (or those of ONLY) on PostgreSQL, through a CONNECT proxy with a private CA
	@$(BIN)/python -m pytest -n $(WORKERS) --dist load --maxschedchunk 8 --through-proxy --database postgresql $(ONLY)

bench: $(STAMP) servers ## measure and compare with goals, in one table; six minutes (benchmarks/)
	@$(BIN)/python -m benchmarks

chaos: $(STAMP) servers ## kill, cut, stop and fuzz under load, and count what is lost or told twice; 40 minutes at most
	@$(BIN)/python -m benchmarks.chaos --strict
	@$(BIN)/python -m benchmarks.fuzz --strict

lint: $(STAMP) ## say what is wrong with form and style
	@$(BIN)/ruff format --check $(CODE)
	@$(BIN)/ruff check $(CODE)

format: $(STAMP) ## repair form and style where that can be done
	@$(BIN)/ruff format $(CODE)
	@$(BIN)/ruff check --fix $(CODE)

types: $(STAMP) ## check the types, strictly
	@$(BIN)/mypy

layers: $(STAMP) ## check who may import whom (.importlinter)
	@$(BIN)/lint-imports

check: lint types layers ## lint, types and layers

lock: $(STAMP) ## choose new versions for the lock files
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(LOCK) --upgrade pyproject.toml -o requirements.lock
	@$(LOCK) --upgrade pyproject.toml --group dev --group build -c requirements.lock -o requirements-dev.lock
	@$(LOCK) --upgrade --group build -c requirements-dev.lock -o requirements-build.lock

clean: ## remove what was built and cached; the data stays
	@rm -rf $(VENV) dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .cache
	@find receiver tests -name __pycache__ -type d -prune -exec rm -rf {} +
