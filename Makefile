# `make report` and `make test` are the two commands; each sets up what it needs. `make` alone lists all targets.
PYTHON ?= python3
DATA ?= data/sample
OUT ?= reports
DB ?= $(OUT)/$(notdir $(abspath $(DATA))).db
ARGS ?=
BIN := .venv/bin
PYTEST := $(BIN)/pytest --quiet
# A file is run by one process, the files that take longest first (tests/conftest.py). The lake runs apart: what it
# imports, and what its threads keep, is nearly all of the memory that a load may use.
PARALLEL := --numprocesses=2 --dist=loadfile --no-loadscope-reorder
NOTEBOOKS := --nbval --nbval-current-env --nbval-cell-timeout=120 --nbval-sanitize-with=tests/nbval.cfg notebooks
SWEPT = FOUNDATION_SOAK=$(if $(FULL),full,sampled)
export JUPYTER_PREFER_ENV_PATH = 1

help:  ## list the targets
	@echo "make report [DATA=folder] [OUT=reports] [DB=file] [ARGS=options] · make check · make test · and:"
	@sed -n 's/^\([a-z]*\):.*## /  make \1	/p' $(MAKEFILE_LIST) | expand -t 20

.venv/ready: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)' && $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . && touch $@

report: .venv/ready  ## load DATA through the notebooks and make pages of them
	@mkdir -p $(OUT)
	$(BIN)/foundation report $(DATA) --db $(DB) --out $(OUT) $(ARGS)

check: .venv/ready  ## format, lint, types, fast tests: a minute
	$(BIN)/ruff format --check --quiet . && $(BIN)/ruff check --quiet . && $(BIN)/mypy
	$(PYTEST) $(PARALLEL) -p no:nbval -m "not slow and not soak and not interop" tests --ignore=tests/lake --ignore=tests/report

test: .venv/ready  ## format, lint, types, all tests, and the notebooks as tests: six minutes
	$(BIN)/ruff format --check --quiet . && $(BIN)/ruff check --quiet . && $(BIN)/mypy
	$(PYTEST) $(PARALLEL) $(COVERED) tests --ignore=tests/lake
	$(PYTEST) $(PARALLEL) $(COVERED) $(APPENDED) tests/lake $(NOTEBOOKS)

coverage: COVERED = --cov=foundation --cov-config=pyproject.toml --cov-report=
coverage: APPENDED = --cov-append
coverage: test  ## the same, and which lines no test has reached
	$(BIN)/coverage report

soak: .venv/ready  ## larger samples of faults, kills and histories: an hour; with FULL=1 all of them: hours
	$(SWEPT) $(PYTEST) -rA -m "sweep or soak" tests

bench: .venv/ready .venv-bench/ready  ## load the same files with the peers, in turn (needs the sqlite3 shell)
	$(BIN)/python benchmarks/run.py $(ARGS)

.venv-bench/ready: benchmarks/requirements.txt
	$(PYTHON) -m venv .venv-bench && .venv-bench/bin/pip install --quiet --disable-pip-version-check -r $< && touch $@

interop: .venv-interop/ready  ## open exports in frictionless, DuckDB, pandas and Datasette
	.venv-interop/bin/python -m pytest --quiet -m interop tests/whole/test_interop.py

.venv-interop/ready: tests/whole/interop.txt pyproject.toml
	$(PYTHON) -m venv .venv-interop && .venv-interop/bin/pip install --quiet --disable-pip-version-check -r $< -e . && touch $@

lab: .venv/ready  ## open the notebooks in JupyterLab
	$(BIN)/jupyter lab notebooks

notebooks: .venv/ready  ## run the notebooks on the sample again and keep their outputs
	$(BIN)/jupyter nbconvert --log-level=WARN --to notebook --execute --inplace --ExecutePreprocessor.record_timing=False notebooks/*.ipynb

docs: .venv/ready  ## write the data dictionary and the Python reference again
	$(BIN)/python docs/make.py

sample: .venv/ready  ## make the sample data again
	$(BIN)/foundation sample data/sample --orders 400 --faults 0.03 --seed 7

lock: .venv/ready  ## pin all packages again, newest versions first (needs uv)
	uv pip compile pyproject.toml --extra notebooks --extra cluster --extra dev --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --upgrade -o requirements.lock

clean:  ## take away what was made, but no report
	rm -rf .venv .venv-bench .venv-interop .mypy_cache .ruff_cache .hypothesis .coverage* build dist

.PHONY: help report check test coverage soak bench interop lab notebooks docs sample lock clean
