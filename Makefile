# wazo-webhookd: `make` lists what can be done.

VENV ?= .venv
PYTHON ?= $(firstword $(foreach name,python3 python3.13 python3.12 python3.11,$(shell \
	$(name) -c 'import sys; sys.version_info >= (3, 11) and print("$(name)")' 2>/dev/null)))
BIN := $(VENV)/bin
ARGS ?=
JOBS ?= 3
INSTALLED := $(VENV)/.installed
DEVELOPED := $(VENV)/.developed
WITH_SERVERS = $(BIN)/python -m integration_tests.support.with_servers

export PIP_DISABLE_PIP_VERSION_CHECK = 1

.DEFAULT_GOAL := help
.PHONY: help run install develop test test/unit test/database test/integration test/faults test/package check lint typing imports format \
	bench bench/compare docs deb release/check requirements clean

help: ## list what can be done
	@awk -F ':.*## ' '/^[a-z\/]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

run: $(INSTALLED) ## see an event become a request, then go on serving (ARGS=--once: end after that)
	@$(BIN)/wazo-webhookd-demo $(ARGS)

install: $(INSTALLED) ## install the program into .venv

develop: $(DEVELOPED) ## install what developers need, too

test: $(DEVELOPED) ## run all tests (ARGS are for pytest; JOBS=3 at a time: most of them wait)
	@$(WITH_SERVERS) $(BIN)/pytest tests integration_tests -m 'not faults' -n $(JOBS) --dist loadfile $(ARGS)

test/unit: $(DEVELOPED) ## run the tests that need no server, in seconds
	@$(BIN)/pytest tests/unit tests/contract $(ARGS)

test/database: $(DEVELOPED) ## run the tests of the database on PostgreSQL and SQLite
	@$(WITH_SERVERS) $(BIN)/pytest tests/database $(ARGS)

test/integration: $(DEVELOPED) ## run the real daemon and workers against real servers
	@$(WITH_SERVERS) $(BIN)/pytest integration_tests -m 'not faults' $(ARGS)

test/faults: $(DEVELOPED) ## kill everything at random moments and print the table of what was lost
	@$(WITH_SERVERS) $(BIN)/pytest integration_tests -m faults -s --timeout 1200 $(ARGS)

test/package: $(DEVELOPED) deb ## install the Debian package in a fresh Debian, use it, upgrade it, remove it (needs root)
	@$(BIN)/python -m integration_tests.package "$$(ls -t dist/wazo-webhookd_*.deb | head -n 1)" $(ARGS)

check: lint typing imports test ## everything that must be well before you push

lint: $(DEVELOPED) ## ruff
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

typing: $(DEVELOPED) ## mypy --strict on the package
	@$(BIN)/mypy

imports: $(DEVELOPED) ## who may import whom
	@$(BIN)/lint-imports

format: $(DEVELOPED) ## lay the code out
	@$(BIN)/ruff check --fix --select I .
	@$(BIN)/ruff format .

bench: $(DEVELOPED) ## measure, print one table of ratios, write it as JSON
	@$(WITH_SERVERS) $(BIN)/python -m benchmarks $(ARGS)

bench/compare: $(DEVELOPED) ## compare two results: make bench/compare A=a.json B=b.json
	@$(BIN)/python -m benchmarks.compare $(A) $(B)

docs: $(DEVELOPED) ## build the documentation into build/docs, without warnings and dead links
	@$(BIN)/sphinx-build -W --keep-going -q -b html -d build/doctrees docs build/docs
	@$(BIN)/python tools/check_links.py build/docs
	@echo 'build/docs/index.html'

deb: ## build the Debian package into dist/ (on Debian 12)
	@tools/make-deb

release/check: ## is this tree fit to be released? builds sdist, wheel and Debian package into dist/
	@tools/check-release '$(PYTHON)'

requirements: ## write requirements*.txt anew from a fresh installation of the newest versions
	@PYTHON='$(PYTHON)' tools/write-requirements

clean: ## remove what was built
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache .tox

$(VENV)/bin/python:
	@tools/make-venv '$(PYTHON)' '$(VENV)'

$(INSTALLED): requirements.txt setup.py wazo_webhookd/__init__.py | $(VENV)/bin/python
	@echo 'Installing into $(VENV)'
	@$(BIN)/pip install -q -r requirements.txt
	@$(BIN)/pip install -q --no-deps -e .
	@touch $@

$(DEVELOPED): $(INSTALLED) requirements-dev.txt
	@$(BIN)/pip install -q -r requirements-dev.txt
	@touch $@
