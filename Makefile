# make train, make test: everything a fresh machine with Python 3.11 to 3.14 needs. `make help` lists more.
PYTHON ?= python3
VENV ?= .venv
# Extras of the jax wheel: make train JAX=cuda13 for NVIDIA GPUs
JAX ?= cpu
CONFIG ?= configs/digits.py
WORKDIR ?= runs/$(subst :,-,$(subst .py,,$(notdir $(CONFIG))))
ARGS ?=

BIN := $(VENV)/bin
READY := $(VENV)/ready-$(JAX)
OTHERS = $(filter-out $(READY),$(wildcard $(VENV)/ready-cuda*))
# Everything and PyTorch, which this project is compared with. On Linux the wheel that pip finds by
# itself is made for CUDA and takes gigabytes; PIP_EXTRA_INDEX_URL can name PyTorch's CPU wheels.
TORCH := .venv-torch

# The packages to bring to a machine with JAX, flax, optax, NumPy and PyTorch but no network. There:
# python3 -m pip install --no-index --no-deps --target=/tmp/site wheels/*.whl
WHEELS := wheels
WHEELS_PYTHON ?= 3.12

.PHONY: help train test test-all test-gpu notebooks bench wheels lint format setup clean

help:
	@echo "make train [CONFIG=configs/X.py:variant] [WORKDIR=DIR] [ARGS='--config.epochs=5']"
	@echo "                                         set up, then train: the default net on digits"
	@echo "make test | test-all | lint | format     set up, then check; test-all with PyTorch as well"
	@echo "make notebooks                           set up, then open experiments/notebooks"
	@echo "make bench [ARGS='--only=cifar']         set up, then race PyTorch"
	@echo "make setup JAX=cuda13                    an environment for NVIDIA GPUs; cuda12 before driver 580"
	@echo "make test-gpu JAX=cuda13                 the tests that need a GPU"
	@echo "make wheels [WHEELS_PYTHON=3.12]         wheels/, for a machine without a network"

# pip leaves the packages uncompiled, Python compiles what it first imports. Where it may not keep
# that, each process would compile JAX anew.
unexport PYTHONDONTWRITEBYTECODE

# The package is installed where it is: a copied or moved checkout installs it again.
$(foreach stamp,$(READY) $(TORCH)/ready,$(if $(filter-out $(shell cat $(stamp) 2>/dev/null),$(CURDIR)),$(eval .PHONY: $(stamp))))

$(READY): requirements.txt pyproject.toml
	$(if $(and $(filter cuda%,$(JAX)),$(OTHERS)),$(error $(VENV) has $(OTHERS), and would hold two CUDAs: make clean, or make VENV=.venv-$(JAX)))
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 to 3.14 is needed, $(PYTHON) is " + sys.version.split()[0] + "; use make PYTHON=python3.12") if not (3, 11) <= sys.version_info < (3, 15) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check -r requirements.txt 'jax[$(JAX)]'
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check --no-deps --editable .
	@pwd -P > $@

$(TORCH)/ready: requirements.txt requirements-torch.txt pyproject.toml
	$(PYTHON) -m venv $(TORCH)
	$(TORCH)/bin/python -m pip install --quiet --no-compile --disable-pip-version-check \
		-r requirements.txt -r requirements-torch.txt
	$(TORCH)/bin/python -m pip install --quiet --no-compile --disable-pip-version-check --no-deps --editable .
	@pwd -P > $@

setup: $(READY)

train: $(READY)
	@echo 'For the commands that it names: source $(BIN)/activate'
	$(BIN)/python -m alexnet.train --config='$(CONFIG)' --workdir='$(WORKDIR)' $(ARGS)

test: $(READY)
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"

test-all: $(TORCH)/ready
	$(TORCH)/bin/python -m pytest -n 2 --dist loadfile -rs

test-gpu: $(READY)
	CUDA_VISIBLE_DEVICES=$${CUDA_VISIBLE_DEVICES:-0} JAX_PLATFORMS=cuda,cpu XLA_PYTHON_CLIENT_PREALLOCATE=false \
		$(BIN)/python -m pytest -m gpu tests/gpu $(ARGS)

$(VENV)/ready-notebooks: $(READY)
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check --editable '.[notebooks]'
	touch $@

notebooks: $(VENV)/ready-notebooks
	$(BIN)/python -m jupyterlab --ServerApp.root_dir="$$(pwd -P)" \
		--LabApp.default_url=/lab/tree/experiments/notebooks $(ARGS)

bench: $(READY) $(TORCH)/ready
	$(BIN)/python experiments/benchmarks/bench.py --torch=$(TORCH)/bin/python $(ARGS)

wheels:
	rm -rf $(WHEELS)
	$(PYTHON) -m pip wheel --quiet --no-deps --wheel-dir=$(WHEELS) promise
	$(PYTHON) -m pip download --quiet --no-deps --only-binary=:all: --dest=$(WHEELS) \
		--find-links=$(WHEELS) --implementation=cp --python-version=$(WHEELS_PYTHON) \
		$(patsubst %,--platform=manylinux%_x86_64,_2_28 _2_27 _2_17 2014 2010 1) \
		--constraint=requirements.txt --requirement=experiments/benchmarks/wheels.txt
	du -sh $(WHEELS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) $(TORCH) $(WHEELS)
