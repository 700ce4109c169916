# Each of these does all the set-up on a fresh machine: `make demo`, `make test`, `make docs`,
# `make test-arithmetic`, `make soak`.
PYTHON ?= python3
VENV := .venv
MOTO := .venv-moto
BIN := $(VENV)/bin
# A worker for each processor; one that has no tests left takes some from another.
PARALLEL := -n logical --dist worksteal

.PHONY: demo test test-arithmetic soak check format docs clean

demo: $(VENV)/.installed
	$(BIN)/sightline demo

test: $(VENV)/.dev $(MOTO)/.installed check
	$(BIN)/python -m pytest $(PARALLEL)

# The tests that depend on arithmetic, as other processors would compute; tests/arithmetic.py lists both.
test-arithmetic: $(VENV)/.dev $(MOTO)/.installed
	$(BIN)/python -m tests.arithmetic -- $(PARALLEL)

# A server under load for 15 minutes, with flat memory.
soak: $(VENV)/.dev
	$(BIN)/python -m tests.serve.soak

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Into site/, to be opened from the disk. A broken link or any other warning ends it.
docs: $(VENV)/.docs
	$(BIN)/zensical build --strict --clean

# torch first and alone: its pinned version decides which build everything else meets.
$(VENV)/.installed: pyproject.toml constraints.txt
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/.dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	if command -v npm >/dev/null; then npm install --silent --no-package-lock --prefix tests/page; fi
	touch $@

# The server of the tests of object stores, whose pins are not those of constraints.txt.
$(MOTO)/.installed: tests/load/moto.txt
	test -d $(MOTO) || $(PYTHON) -m venv $(MOTO)
	$(MOTO)/bin/python -m pip install --quiet --requirement tests/load/moto.txt
	touch $@

$(VENV)/.docs: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[docs]"
	touch $@

clean:
	rm -rf $(VENV) $(MOTO) build dist runs site
