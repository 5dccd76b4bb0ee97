# make run    environment, then normals of the bundled photographs (or INPUT=path) in out/
# make test   environment, then every check that the project has
# make docs   environment, then the manual in docs/_build/html
# make clean  remove what the two made

PYTHON ?= python3
VENV ?= .venv
INPUT ?= src/stablenormal/samples
OUT ?= out
MODE ?= full
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# Libraries of the operating system that the tests need: OpenGL without a screen for the renderer, a browser for the page.
APT := libegl1 libgl1 libgl1-mesa-dri libegl-mesa0 libgles2 chromium fonts-dejavu-core

.PHONY: run test docs environment check-style check-types check-rooms check-tests system-libraries clean

run: $(VENV)/.installed
	$(BIN)/stablenormal predict $(INPUT) -o $(OUT) --mode $(MODE)

test: system-libraries check-style check-types check-rooms check-tests
	@echo "make test: all checks passed"

environment: $(VENV)/.installed-for-tests

# torch comes first and alone: pip then takes the build that suits the machine, and every later install finds it there.
$(VENV)/.torch: constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "make: installing PyTorch into $(VENV), some minutes the first time"
	$(PIP) install --quiet --constraint constraints.txt torch
	touch $@

$(VENV)/.installed: $(VENV)/.torch pyproject.toml
	@echo "make: installing the rest"
	$(PIP) install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/.installed-for-tests: $(VENV)/.torch pyproject.toml
	@echo "make: installing the rest, with what the tests need"
	$(PIP) install --quiet --constraint constraints.txt --editable '.[dev,app,serve,synth,pathtrace,data,train,reconstruct,study,video,docs]'
	touch $@ $(VENV)/.installed

check-style: environment
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

check-types: environment
	$(BIN)/mypy

check-rooms: environment
	$(BIN)/lint-imports

check-tests: environment system-libraries
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -q

docs: environment
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "make docs: open docs/_build/html/index.html"

system-libraries:
	@command -v apt-get >/dev/null || { echo "make test: no apt-get here; the tests of the renderer and the page need: $(APT)"; exit 0; }; \
	missing=""; for package in $(APT); do dpkg -s $$package >/dev/null 2>&1 || missing="$$missing $$package"; done; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" != 0 ]; then \
	  echo "make test: not root, so these stay missing and the tests that need them are skipped:$$missing"; \
	  echo "make test: to run them too: sudo apt-get install -y --no-install-recommends$$missing"; exit 0; fi; \
	apt-get update -qq || { echo "make test: no package lists here; skipped are the tests that need:$$missing"; exit 0; }; \
	for package in $$missing; do \
	  echo "make test: installing the system package $$package"; \
	  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$package >/dev/null \
	    || echo "make test: $$package cannot be installed; the tests that need it are skipped"; done

clean:
	rm -rf $(VENV) $(OUT) docs/_build docs/_generated .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
