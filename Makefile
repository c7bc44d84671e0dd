# From a fresh clone with Python 3.11 or newer and make:
#   make run    everything on this machine, with example data
#   make test   everything that is tested

VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/.stamps
DATA ?= data
# Files of tests that run at a time, each with stores of its own; `make test AT_ONCE=` runs one after another. Those that
# break stores or look at the clock come after, alone.
AT_ONCE ?= -n auto --maxprocesses 4 --dist loadfile

.PHONY: run install test lint lock clean browser
.DELETE_ON_ERROR:

run: install
	$(BIN)/lasttouch serve --demo --data $(DATA) $(FLAGS)

install: $(STAMPS)/installed

test: $(STAMPS)/tests-installed browser
	$(BIN)/python -m pytest -m "not alone" $(AT_ONCE) $(PYTEST)
	$(BIN)/python -m pytest -m alone $(PYTEST) || [ $$? = 5 ]  # 5: PYTEST chose none of these

lint: $(STAMPS)/tests-installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The browser tests' Chromium: installed where it is missing and can be.
browser:
	@sh .ci/chromium

# Pins every dependency, with hashes, for all platforms. The lock files name no address: pip's own settings say where from.
LOCK = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	--no-emit-index-url --no-emit-find-links
lock: $(STAMPS)/venv
	$(BIN)/python -m pip install --quiet uv
	echo 'setuptools>=77' | $(LOCK) pyproject.toml - -o requirements.lock
	$(LOCK) --extra test --constraint requirements.lock pyproject.toml -o requirements-test.lock

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(STAMPS)/venv:
	@sh .ci/venv $(VENV)
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/installed: $(STAMPS)/venv requirements.lock pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(STAMPS)/tests-installed: $(STAMPS)/installed requirements-test.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-test.lock
	@touch $@
