# make demo    the whole path on simulated micrographs of two labs, or on your own: make demo DATA=some/folder
# make test    every test, and the lint, type, import and format checks
# make docs    write the generated pages again
# make crash   kill ingest and populate 50 times each instead of the 2 of make test, and imports 20 times
# make oracle  compare 100 000 random queries with pandas, half on SQLite and half on PostgreSQL; 1 000 federated
# make stress  8 writers and 8 readers for 60 s on each engine
# make fuzz    damage files of every format 20 000 times and read them: make fuzz MICDB_FUZZ_COUNT=1000
# make bench   the measurements whose results stand in docs/benchmarks.md: make bench DATA=folder/of/micrographs
# make clean   remove what these made

VENV := .venv
BIN := $(VENV)/bin
DATA ?=
MICDB_FUZZ_COUNT ?= 20000

# The first Python on PATH that is new enough, not too new, and can make virtual environments.
ask := import sys, ensurepip, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c '$(ask)' 2>/dev/null && echo $$p && break; done)

.PHONY: demo test lint docs crash oracle stress fuzz bench clean

demo: $(VENV)/.demo
	$(BIN)/micdb demo $(if $(DATA),--data "$(DATA)")

# One thread for each process: threads that wait for one another are what two processors have least of.
test: $(VENV)/.test lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 4 --dist worksteal -q

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/.test
	$(BIN)/python -m micdb.catalog.describe > docs/schema.md
	$(BIN)/python tests/ingest/conformance_page.py docs/formats.md
	$(BIN)/python -m micdb.bundle.metadata_page > docs/metadata.md

crash: $(VENV)/.test
	MICDB_KILLS=100 $(BIN)/python -m pytest -q tests/micdb/test_crash.py
	MICDB_KILLS=20 $(BIN)/python -m pytest -q tests/micdb/exchange/test_killed.py

oracle: $(VENV)/.test
	MICDB_ORACLE=100000 $(BIN)/python -m pytest -n 2 --dist worksteal -q tests/properties/test_pandas_oracle.py
	MICDB_FEDERATED=1000 $(BIN)/python -m pytest -q tests/properties/test_federation_oracle.py

stress: $(VENV)/.test
	$(BIN)/python tests/postgres/stress.py --seconds 60

fuzz: $(VENV)/.test
	MICDB_FUZZ_COUNT=$(MICDB_FUZZ_COUNT) $(BIN)/python -m tests.fuzz

bench: $(VENV)/.test
	$(BIN)/python benchmarks/ingest.py whole
	$(BIN)/python benchmarks/ingest.py headers
	$(BIN)/python benchmarks/ingest.py flat
	$(BIN)/python benchmarks/ingest.py memory
	$(BIN)/python benchmarks/watch.py
	$(BIN)/python benchmarks/compression.py "$(DATA)"
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
