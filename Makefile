# make demo    the whole path on simulated micrographs of two labs, or on your own: make demo DATA=some/folder
# make test    every test, and the lint, type, import and format checks
# make docs    write the generated pages again
# make crash   kill ingest and populate 50 times each instead of the 25 of make test
# make bench   the measurements whose results stand in docs/benchmarks.md: make bench DATA=folder/of/micrographs
# make clean   remove what these made

VENV := .venv
BIN := $(VENV)/bin
DATA ?=

# The first Python on PATH that is new enough, not too new, and can make virtual environments.
ask := import sys, ensurepip, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c '$(ask)' 2>/dev/null && echo $$p && break; done)

.PHONY: demo test lint docs crash bench clean

demo: $(VENV)/.demo
	$(BIN)/micdb demo $(if $(DATA),--data "$(DATA)")

test: $(VENV)/.test lint
	$(BIN)/python -m pytest -n 2 --dist worksteal -q

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/.test
	$(BIN)/python -m micdb.catalog.describe > docs/schema.md

crash: $(VENV)/.test
	MICDB_KILLS=100 $(BIN)/python -m pytest -q tests/micdb/test_crash.py

bench: $(VENV)/.test
	$(BIN)/python benchmarks/texture.py "$(DATA)"

clean:
	rm -rf $(VENV) build dist *.egg-info demo.micdb demo-data report.html

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "micdb needs Python 3.11, 3.12 or 3.13 with venv on PATH;" \
		"on Debian and Ubuntu: apt install python3 python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.test: $(VENV)/.demo
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test,em]'
	@touch $@
