# Every command that a person or CI runs. `make help` lists them.
PYTHON ?= python3
PY := .venv/bin/python
.DEFAULT_GOAL := help
.PHONY: help run test torture check bench lock clean browser

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

run: .venv/run.stamp  ## start everything on http://127.0.0.1:8000
	@exec $(PY) -m server run

browser: .venv/dev.stamp
	@$(PY) -m tests.browser

check: .venv/dev.stamp  ## ruff and mypy
	@$(PY) -m ruff check . && $(PY) -m ruff format --check . && $(PY) -m mypy

MANY := $(foreach each,cluster cluster_failover room_cluster room_failover loadtest peers,tests/test_$(each).py)
APART := tests/journeys tests/test_docker.py tests/torture tests/journal tests/pages $(MANY)

test: browser  ## ruff, mypy and every test
	@# Two cores and much waiting: four branches beside each other, each about as long as the others.
	@$(PY) -m pytest -q tests/journeys & journeys=$$!; \
	{ $(PY) -m pytest -q tests/journal && $(PY) -m pytest -q tests/pages; } & journal=$$!; \
	{ make --no-print-directory check && $(PY) -m pytest -q tests/torture $(MANY); } & torture=$$!; \
	$(PY) -m pytest -q tests/test_docker.py && $(PY) -m pytest -q $(APART:%=--ignore=%); rest=$$?; \
	wait $$torture; torture=$$?; wait $$journal; journal=$$?; wait $$journeys; journeys=$$?; \
	echo "status of each: check, torture and many stores $$torture, journal and pages $$journal, journeys $$journeys, the rest $$rest"; \
	exit $$((torture || journal || journeys || rest))

torture: .venv/dev.stamp  ## the money path under faults, the long form: minutes
	@LIVEROOM_TORTURE=1 $(PY) -m pytest -q tests/torture

bench: .venv/dev.stamp  ## the figures of loadtest/README.md, measured here
	@$(PY) -m loadtest bench

lock: .venv/dev.stamp  ## pin anew what pyproject.toml asks for (needs uv)
	@uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url \
	  pyproject.toml -o requirements.lock
	@uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url \
	  -c requirements.lock --group dev --group loadtest pyproject.toml -o requirements-dev.lock

clean:  ## remove .venv (the data folder stays)
	@rm -rf .venv
