# Two commands do everything: `make run` for a first study, `make test` for the suite.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: bench-trainer run test serve install check bench-kernels bench-latency clean

run: $(INSTALLED)
	$(BIN)/python studies/journey.py studies/quickstart.yaml

test: $(INSTALLED) check
	$(BIN)/pytest -n 2 --dist worksteal

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Against other implementations, as far as they are installed; writes kernels/BENCHMARKS.md.
bench-kernels: $(INSTALLED)
	$(BIN)/python -m nas.kernels.runtime.bench --write

# On a GPU: make bench-trainer ARGS="--device cuda --dims 256 384 512 --parameters 1 20 --workers 4"
bench-trainer: $(INSTALLED)
	$(BIN)/python -m nas.evaluators.bench_trainer $(ARGS)

# Times composed of measured parts against whole models; writes docs/latency.md. Wants an idle machine.
bench-latency: $(INSTALLED)
	$(BIN)/python -m nas.evaluators.composed.bench --write docs/latency.md

serve: $(INSTALLED)
	$(BIN)/nas serve

install: $(INSTALLED)

# torch first and by its exact version: that is how pip finds the CPU build where one is provided.
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Python 3.11 or newer is needed; use make PYTHON=python3.11"'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt "$$(grep '^torch==' constraints.txt)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info
