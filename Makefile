# Everything starts here: make demo, make test. See CONTRIBUTING.md.
PYTHON ?= python3
BIN := .venv/bin
export RAY_USAGE_STATS_ENABLED := 0
export RAY_ENABLE_UV_RUN_RUNTIME_ENV := 0
# Every trial's worker is a process of its own: without kept bytecode each would compile torch and Ray again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo test check docs bench clean

help:
	@echo "make setup   install everything into .venv"
	@echo "make demo    search studies/digits.yaml; ends with runs/digits/report.html"
	@echo "make test    linters, type checker, import rules and tests"
	@echo "make docs    build the documentation's site into site/"
	@echo "make bench   the benchmarks, or some: make bench ONLY=\"truth placebos\""
	@echo "make clean   remove .venv and caches; never runs/"

setup: .venv/.installed

# uv takes seconds where pip takes minutes; where it cannot be had, pip does the same work.
.venv/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "tricksearch needs Python 3.11 or newer; name one with: make PYTHON=python3.12 ...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing into .venv (torch with its CUDA libraries: several GB the first time) ..."
	@command -v uv >/dev/null 2>&1 || $(BIN)/python -m pip install --quiet uv >/dev/null 2>&1 || true
	@PATH="$(CURDIR)/$(BIN):$$PATH" uv pip install --quiet --python $(BIN)/python -e '.[dev]' || \
		$(BIN)/python -m pip install --quiet -e '.[dev]'
	@touch $@

demo: setup
	$(BIN)/tricksearch run studies/digits.yaml --phases search

test: check

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

# The documentation's site. What follows from the code is written first; a broken link or a missing anchor is an error.
docs: .venv/.docs
	$(BIN)/python tools/generate_docs.py
	$(BIN)/zensical build --clean --strict

.venv/.docs: .venv/.installed
	@PATH="$(CURDIR)/$(BIN):$$PATH" uv pip install --quiet --python $(BIN)/python -e '.[dev,docs]' || \
		$(BIN)/python -m pip install --quiet -e '.[dev,docs]'
	@touch $@

# All benchmarks, or those that are named: make bench ONLY="verdict_studies truth placebos"
bench: .venv/.bench
	$(BIN)/python -m benchmarks $(ONLY)

# The tables and the peers of the benchmarks, which nothing else needs.
.venv/.bench: .venv/.installed
	@PATH="$(CURDIR)/$(BIN):$$PATH" uv pip install --quiet --python $(BIN)/python -e '.[dev,bench]' || \
		$(BIN)/python -m pip install --quiet -e '.[dev,bench]'
	@touch $@

clean:
	rm -rf .venv build site *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
