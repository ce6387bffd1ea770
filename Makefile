# One command each. `make demo` needs nothing but Python 3.11 or newer.
PYTHON ?= python3
PORT ?= 8000
VENV := .venv
BIN := $(VENV)/bin
PYTEST_ARGS ?=
# A file is one process's; tests/conftest.py says which come first.
IN_PARALLEL := --numprocesses 2 --dist loadfile --no-loadscope-reorder
BENCH_ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo cluster test test-slow lint format bench npm screenshot chromium clean

help:
	@echo 'make demo        the demo at http://127.0.0.1:$(PORT)/'
	@echo 'make cluster     the demo on three servers, PostgreSQL and Redis, from port $(PORT) on'
	@echo 'make test        all tests but the slow ones (PYTEST_ARGS="-k name")'
	@echo 'make test-slow   the slow ones'
	@echo 'make lint        ruff and mypy'
	@echo 'make format      ruff, writing'
	@echo 'make bench       the benchmark (BENCH_ARGS="--quick --only counter")'
	@echo 'make npm         the JavaScript client as a package in dist/npm'
	@echo 'make screenshot  docs/demo.png anew'

# A stamp for what is installed, so that a second run starts at once.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'LightMoon needs Python 3.11 or newer. Say which: make demo PYTHON=/path/to/python3.11'; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
		{ rm -rf $(VENV); echo 'Could not make a virtual environment. On Debian: apt-get install python3-venv'; exit 1; }

$(VENV)/.installed: setup.cfg pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.installed-dev: setup.cfg pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,dev,uvicorn,postgres]'
	@touch $@ $(VENV)/.installed $(VENV)/.installed-cluster

$(VENV)/.installed-cluster: setup.cfg pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[cluster,uvicorn,postgres]'
	@touch $@ $(VENV)/.installed

demo: $(VENV)/.installed
	@$(BIN)/python manage.py migrate --verbosity 0
	@$(BIN)/python manage.py seed
	@echo
	@echo '  Open http://127.0.0.1:$(PORT)/ in two browser windows. Ctrl-C stops the server; what you wrote stays.'
	@echo
	@$(BIN)/python manage.py runserver $(PORT)

cluster: $(VENV)/.installed-cluster
	@$(BIN)/python -m demo_project.cluster --port $(PORT)

chromium:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update --quiet --quiet && apt-get install --quiet --quiet --yes --no-install-recommends chromium; \
	else \
		echo 'The browser tests need Chromium. Install it (on Debian: sudo apt-get install chromium) and run this again.'; \
		exit 1; \
	fi

test: $(VENV)/.installed-dev chromium
	$(BIN)/python -m pytest -m 'not slow' $(IN_PARALLEL) $(PYTEST_ARGS)

test-slow: $(VENV)/.installed-dev chromium
	$(BIN)/python -m pytest -m slow --timeout 900 $(IN_PARALLEL) $(PYTEST_ARGS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.installed-dev
	$(BIN)/python -m bench $(BENCH_ARGS)

npm: $(BIN)/python
	$(BIN)/python -m tools.npm

screenshot: $(VENV)/.installed-dev chromium
	LIGHTMOON_SCREENSHOT=docs/demo.png $(BIN)/python -m pytest tests/browser -k screenshot $(PYTEST_ARGS)

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage
