# Everything starts here: make demo, make test. See CONTRIBUTING.md.
PYTHON ?= python3
BIN := .venv/bin
export RAY_USAGE_STATS_ENABLED := 0
export RAY_ENABLE_UV_RUN_RUNTIME_ENV := 0
# Every trial's worker is a process of its own: without kept bytecode each would compile torch and Ray again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup demo test check bench clean

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

# All benchmarks, or those that are named: make bench ONLY="verdict_studies truth placebos"
bench: .venv/.bench
	$(BIN)/python -m benchmarks $(ONLY)

# The tables and the peers of the benchmarks, which nothing else needs.
.venv/.bench: .venv/.installed
	@PATH="$(CURDIR)/$(BIN):$$PATH" uv pip install --quiet --python $(BIN)/python -e '.[dev,bench]' || \
		$(BIN)/python -m pip install --quiet -e '.[dev,bench]'
	@touch $@

clean:
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
