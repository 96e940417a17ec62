# Every command that a person or CI runs. `make help` lists them.
PYTHON ?= python3
PY := .venv/bin/python
.DEFAULT_GOAL := help
.PHONY: help run test torture check js types mutants mutants-js conformance bench packages lock clean browser

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

.venv/run.stamp: requirements.lock
	@test -x $(PY) || $(PYTHON) -m venv .venv 2>/dev/null || { rm -rf .venv; $(PYTHON) -m venv --without-pip .venv \
	  && $(PYTHON) -m pip --python $(PY) install --quiet pip; } \
	  || { echo "liveroom: python's venv module is missing; install it (on Debian: the package python3-venv)"; exit 2; }
	@echo "liveroom: installing pinned packages into .venv (once)"
	@$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@touch $@

.venv/dev.stamp: requirements-dev.lock .venv/run.stamp
	@$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

JS := tests/js
NODE_TOOLS := $(JS)/node_modules/.stamp
NODE := node --disable-warning=ExperimentalWarning --import ./support/register.js --test-reporter=spec
NEW_ENOUGH := const [a, b] = process.versions.node.split("."); process.exit(a > 20 || (a == 20 && b >= 19) ? 0 : 1)

$(NODE_TOOLS): $(JS)/package.json $(JS)/package-lock.json
	@node -e '$(NEW_ENOUGH)' 2>/dev/null && command -v npm >/dev/null || { echo "liveroom: the JavaScript is checked with" \
	  "node 20.19 or later and npm; install both (on most systems: the packages nodejs and npm)"; exit 2; }
	@echo "liveroom: installing pinned packages into $(JS)/node_modules (once)"
	@cd $(JS) && npm ci --loglevel=error --no-progress >/dev/null
	@touch $@

run: .venv/run.stamp  ## start everything on http://127.0.0.1:8000
	@exec $(PY) -m server run

browser: .venv/dev.stamp
	@$(PY) -m tests.browser

check: .venv/dev.stamp $(NODE_TOOLS)  ## ruff and mypy; eslint and tsc
	@$(PY) -m ruff check . && $(PY) -m ruff format --check . && $(PY) -m mypy
	@$(JS)/node_modules/.bin/eslint -c $(JS)/eslint.config.js server/web protocol/web $(JS)
	@for project in tsconfig.json tsconfig.checks.json; do $(JS)/node_modules/.bin/tsc -p $(JS)/$$project || exit 1; done

js: $(NODE_TOOLS)  ## the unit tests of the pages and of the client
	@cd $(JS) && said=$$($(NODE) all.js 2>&1) || { echo "$$said"; exit 1; }; echo "$$said" | tail -n 8

types: .venv/dev.stamp $(NODE_TOOLS)  ## write what is generated in protocol/web
	@$(PY) -m tests.wire_types && node $(JS)/generate.mjs

OVER := money
mutants: .venv/dev.stamp  ## small mistakes in the money path (or OVER=delivery), which its tests must find: an hour
	@$(PY) -m tests.mutants --over $(OVER) --small --jobs 2 --deselect "postgresql or conformance"

mutants-js: $(NODE_TOOLS)  ## small mistakes in the JavaScript, which its tests must find: ten minutes
	@node $(JS)/mutants.mjs

# The tests are one run of several workers: more than two cores have, because much of it is waiting. A worker takes group
# after group (tests/conftest.py), the longest first. What one process has compiled no other one compiles again.
PYTEST := PYTHONDONTWRITEBYTECODE= $(PY) -m pytest -q
WORKERS := 4
LONGEST := tests/pages tests/torture tests/journeys tests/http/test_schemathesis.py tests/toy tests/payouts tests/journal

test: browser $(NODE_TOOLS)  ## check, and every test
	@$(MAKE) --no-print-directory --keep-going --jobs=2 check-js every-test

.PHONY: check-js every-test
check-js:
	@$(MAKE) --no-print-directory --keep-going check js

every-test:
	@$(PYTEST) -n $(WORKERS) --dist loadgroup --no-loadscope-reorder --durations=10 $(LONGEST) tests

torture: .venv/dev.stamp  ## the money path under faults, the long form: minutes
	@LIVEROOM_TORTURE=1 $(PY) -m pytest -q tests/torture tests/edge/test_door.py $(wildcard tests/journeys/test_wrong_*.py) \
	  tests/journeys/test_missing_stores.py tests/journeys/test_stopping_early.py

conformance: .venv/dev.stamp  ## Autobahn's websocket test suite against our class: needs a Python 2.7, takes half an hour
	@$(PY) -m tests.conformance

bench: .venv/dev.stamp  ## the figures of loadtest/README.md, measured here
	@$(PY) -m loadtest bench

packages: .venv/dev.stamp  ## build/packages: the clients for PyPI and npm (needs npm)
	@$(PY) -m tests.packages

lock: .venv/dev.stamp  ## pin anew what pyproject.toml asks for (needs uv)
	@uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url \
	  pyproject.toml -o requirements.lock
	@uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url \
	  -c requirements.lock --group dev --group loadtest pyproject.toml -o requirements-dev.lock

clean:  ## remove .venv, build and tests/js/node_modules (the data folder stays)
	@rm -rf .venv build $(JS)/node_modules
