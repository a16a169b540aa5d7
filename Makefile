PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# The slowest files run first, so that no process waits for one at the end: a minute or two of a core each.
SLOW := ray resume training export_command predictors conformance kernels recipes detection_network timm_suite
LONGEST := $(SLOW:%=tests/test_%.py)
DIGITS := recipes/classification/digits.yaml --out runs/digits

.PHONY: help setup demo test fuzz audit lint format types kill-campaign two-processes two-nodes minute-one gpu-dry gpu-data timm-suite clean
.DELETE_ON_ERROR:

help:  ## print this list
	@sed -n 's/^\([a-z-]*\):.*## /  \1|/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-14s%s\n", $$1, $$2 }'

setup: $(INSTALLED)  ## install the package and its tools into .venv

demo: $(INSTALLED)  ## train on handwritten digits, test, fuse, draw, enlarge a photograph: about 3 minutes on two CPU cores
	$(BIN)/metamixer fit --config $(DIGITS)
	$(BIN)/metamixer test --config $(DIGITS)
	$(BIN)/metamixer fuse runs/digits/best.ckpt --out runs/digits/digits_fused.safetensors --overwrite
	$(BIN)/metamixer draw runs/digits/best.ckpt --out runs/digits/sheet.png --overwrite
	$(BIN)/python examples/enlarge_photograph.py

test: lint  ## lint, then run all tests in two processes of one thread each: 11 minutes on two CPU cores
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --timeout 1200 --durations 15 $(LONGEST) $(filter-out $(LONGEST),$(wildcard tests/test_*.py))

fuzz: $(INSTALLED)  ## 10,000 mutated files through every reader: an hour or two; make fuzz SEED=7
	OMP_NUM_THREADS=1 PYTHONPATH=tests $(BIN)/python -m fuzz.campaign --cases 10000 --seed $(or $(SEED),0) --keep runs/fuzz

audit: $(INSTALLED)  ## known vulnerabilities of the installed packages; says so where no advisory database can be reached
	$(BIN)/python .ci/audit.py

lint: $(INSTALLED)  ## check the style and common mistakes
	$(BIN)/ruff check

format: $(INSTALLED)  ## format the code
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

types: $(INSTALLED)  ## check the type annotations
	$(BIN)/pyright --pythonpath $(BIN)/python

kill-campaign: $(INSTALLED)  ## kill a training KILLS times (100) at random moments; each resumed run must equal the unbroken one
	PYTHONPATH=tests OMP_NUM_THREADS=1 $(BIN)/python tests/kill_campaign.py --kills $(or $(KILLS),100)

two-processes: $(INSTALLED)  ## train and evaluate in one and in two processes; both must give the same
	folder=$$(mktemp -d) && PYTHONPATH=tests OMP_NUM_THREADS=1 $(BIN)/python tests/two_processes.py $$folder && rm -r $$folder

two-nodes: $(INSTALLED)  ## train over two torchrun agents on this machine, one worker killed on the way
	folder=$$(mktemp -d) && PYTHONPATH=tests OMP_NUM_THREADS=1 $(BIN)/python tests/two_nodes.py $$folder && rm -r $$folder

gpu-dry: $(INSTALLED)  ## run all parts of benchmarks/gpu_all.sh on the CPU with small networks: make gpu-dry DATA=FOLDER
	folder=$$(mktemp -d) && PATH=$(BIN):$$PATH DRY=1 LIMIT=3600 DATA=$(DATA) OMP_NUM_THREADS=1 bash benchmarks/gpu_all.sh $$folder && rm -r $$folder

gpu-data: $(INSTALLED)  ## pack mini-ImageNet for gpu_all.sh into runs/gpu_data: make gpu-data DATA=/data/mini_imagenet
	$(BIN)/python benchmarks/gpu_data.py $(DATA) --out runs/gpu_data/mini_imagenet.tar.gz

minute-one: $(INSTALLED)  ## install the wheel into a fresh environment and run examples/minute_one.py there without the network
	folder=$$(mktemp -d) && OMP_NUM_THREADS=1 $(BIN)/python tests/minute_one_from_wheel.py $$folder && rm -r $$folder

timm-suite: $(INSTALLED)  ## run timm's own model tests on every image network
	$(BIN)/python tests/timm_suite/run.py

clean:  ## remove caches and builds; keep .venv and runs
	rm -rf build dist .pytest_cache .ruff_cache src/*.egg-info
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python %d.%d, expected 3.11 or newer: make setup PYTHON=python3.12" % sys.version_info[:2])'
	@echo 'installing into $(VENV): a few minutes the first time'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@
