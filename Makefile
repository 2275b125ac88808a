# make demo   environment, then the demo; the last line is the path of its page
# make test   environment, then the tests that a change waits for
# make test-slow  the others: trainings, cluster, tutorials, and the library broken on purpose
# make test-all   both
# make lint   ruff and mypy
# make zoo    which methods add up on which architectures (hours; goes on where it stopped)
# make docs   the documentation site, build/site/index.html
# make browser  pages, explorer and site in a Chromium of the system: quiet, offline, every control, attacks in every name
# make bench  the tables behind every claim about speed or accuracy (slow)

PYTHON ?= python3
VENV ?= .venv
TORCH ?= torch==2.13.0
export VESALIUS_DATA ?= $(abspath ../shared/data)

BIN := $(VENV)/bin
READY := $(VENV)/.ready
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test test-slow test-all lint zoo docs browser bench clean

demo: $(READY)
	$(BIN)/vesalius demo --out demo

test: $(READY)
	$(BIN)/python -m pytest -n auto --dist worksteal -m "not slow"

# without the check of shapes at every call, which takes as long as the tests; those of make test have it
test-slow: $(READY)
	JAXTYPING_DISABLE=1 $(BIN)/python -m pytest -n auto --dist worksteal -m slow

test-all: test test-slow

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

zoo: $(READY)
	$(BIN)/python -W ignore benchmarks/architectures.py

docs: $(READY)
	$(PIP) --constraint $(VENV)/constraints.txt '.[docs]'
	$(BIN)/python website/pages.py build/source
	$(BIN)/sphinx-build -q -W --keep-going -c website build/source build/site
	@echo $(abspath build/site/index.html)

browser: docs
	$(PIP) --constraint $(VENV)/constraints.txt '.[browser]'
	$(BIN)/python -m pytest -n 0 tests/browser

bench: $(READY)
	$(PIP) --constraint $(VENV)/constraints.txt '.[peers]'
	for name in tracing rules integrated_gradients interactions audit mutual_information component_shapley complexity link_importance compact pruning joined_units resnet_units shapley_sampling shapley survey survey_kills; do $(BIN)/python -W ignore benchmarks/$$name.py || exit 1; done

# torch comes first and alone: a bare "torch" among other requirements would pull in another build
$(READY): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) $(TORCH)
	echo '$(TORCH)' > $(VENV)/constraints.txt
	$(PIP) --constraint $(VENV)/constraints.txt --editable '.[test]'
# alone: they ask for torchvision, of which the tests need a few names (tests/peers/zennit.py, tests/inputs/test_onnx.py)
	$(PIP) --no-deps zennit==0.5.1 onnx2torch==1.5.15
	touch $@

clean:
	rm -rf $(VENV) demo build
