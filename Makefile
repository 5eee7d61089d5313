# Everything that a person runs by hand. Each target makes the environment it needs.

PYTHON ?= python3
VENV ?= .build/venv
BIN = $(VENV)/bin

.PHONY: demo test test-sqlite test-postgres test-browser bench lint clean

## A demo site on http://127.0.0.1:8000/; `make demo ARGS=--once` runs it through and ends.
demo:
	$(PYTHON) demo/run.py $(ARGS)

## The suite on SQLite, what has to do with the database on a real PostgreSQL, too, and the browser tests where Chromium
## is installed. The three run side by side, because they wait more than they work; each prints when it has ended.
test: $(VENV)/.ready .build/node_modules/.ready
	$(MAKE) --jobs=3 --keep-going --output-sync=target test-sqlite test-postgres test-browser

test-sqlite: $(VENV)/.ready .build/node_modules/.ready
	COVERAGE_FILE=.coverage.sqlite $(BIN)/python -m pytest --ignore tests/browser $(ARGS)

test-postgres: $(VENV)/.ready .build/node_modules/.ready
	PUSHERABLE_TEST_DATABASE=postgres COVERAGE_FILE=.coverage.postgres $(BIN)/python -m pytest \
		--ignore tests/browser --ignore tests/server $(ARGS)

test-browser: $(VENV)/.ready .build/node_modules/.ready
	COVERAGE_FILE=.coverage.browser $(BIN)/python -m pytest tests/browser $(ARGS)

## What recording costs a request, how fast a backlog is worked off, how fast old events go, and what reading takes.
bench: $(VENV)/.ready
	$(BIN)/python -m benchmarks.request_cost
	$(BIN)/python -m benchmarks.drain
	$(BIN)/python -m benchmarks.prune
	$(BIN)/python -m benchmarks.browsing
	$(BIN)/python -m benchmarks.export

## Style and types.
lint: $(VENV)/.ready
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

clean:
	rm -rf .build dist

$(VENV)/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable ".[server]" --group test --group lint --group typing
	touch $@

# pusher-js and axe-core, for the tests in node and in the browser; without npm these are skipped, and say so.
.build/node_modules/.ready: Makefile
	mkdir -p $(@D)
	if command -v npm >/dev/null; then npm install --silent --no-package-lock --prefix .build pusher-js@8.6.0 axe-core@4.14.1; fi
	touch $@
