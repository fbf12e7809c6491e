# Each target sets up what it needs in ./.venv*; only Python 3.11 or newer has to be there.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.9
UV := $(BIN)/uv
INSTALL := $(UV) pip install --quiet --require-hashes
EDITABLE := $(UV) pip install --quiet --no-deps --no-build-isolation --editable .
COMPILE := $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate

# Certificates as the machine trusts them, company proxies included.
export UV_SYSTEM_CERTS := true

.PHONY: help demo test lint unit wheel sets conformance test-clients test-lm weights lock bench bench-gateway clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

demo: $(VENV)/.demo  ## fetch small local models and let the pool answer a few questions
	@$(BIN)/fugu pull
	@$(BIN)/python examples/demo.py

test: lint unit wheel sets conformance  ## everything that CI checks

lint: $(VENV)/.test  ## style, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: $(VENV)/.test weights  ## the tests, with branch coverage
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -n auto
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

weights: $(VENV)/.test  ## the small local models that the tests and the demo use
	-$(BIN)/fugu pull

wheel: $(VENV)/.test  ## the built wheel, tested with the source tree out of sight
	$(BIN)/python tests/wheel.py

sets: .venv-floors/.ready .venv-crewai/.ready weights  ## the core on the oldest versions it declares, and on CrewAI's pins
	.venv-floors/bin/pytest -n auto -m "not embedded"
	.venv-crewai/bin/pytest -n auto -m "not embedded" --ignore=tests/learn --ignore=tests/evaluate --ignore=tests/policies --ignore=tests/cli  # what computes is the same there
	.venv-crewai/bin/pytest tests/crewai_tool -m embedded

conformance: .venv-conformance/.ready  ## the official MCP inspector and conformance suite against our server
	.venv-conformance/bin/python tests/conformance/run.py

test-clients: .venv-conformance/.ready weights  ## Claude Code, Codex and opencode against our MCP server and our API, offline (1.1 GB of clients)
	.venv-conformance/bin/python tests/clients/run.py
	.venv-conformance/bin/python tests/clients/coding.py

test-lm: $(UV) weights  ## a language model's hidden state as encoder (torch: 1 GB and more)
	$(UV) venv --quiet --allow-existing --python $(PYTHON) .venv-lm
	$(UV) pip install --quiet --python .venv-lm --group tests-only --editable '.[lm-train]'
	.venv-lm/bin/pytest tests/encoders/test_lm.py tests/learn/test_writer_training.py

bench: .venv-bench/.ready  ## decision time beside LiteLLM's router, in one run
	.venv-bench/bin/python benchmarks/decision_latency.py

bench-gateway: .venv-bench/.ready  ## requests a second through `fugu serve`, the LiteLLM proxy and a bare proxy, in one run
	.venv-bench/bin/python benchmarks/gateway.py

lock: $(UV)  ## resolve the pinned requirements anew
	$(COMPILE) pyproject.toml --extra embedded --group build -o requirements/demo.txt
	$(COMPILE) pyproject.toml --extra embedded --extra train --extra agents --extra mcp --extra serve --extra use --group test --group clients -o requirements/test.txt
	$(COMPILE) pyproject.toml --extra agents --extra embedded --extra mcp --extra serve --group tests-only --group clients --resolution lowest-direct -o requirements/floors.txt
	$(UV) pip compile --quiet --python-version 3.11 --generate-hashes --no-header --no-annotate \
		pyproject.toml --extra crewai --extra agents --extra embedded --extra mcp --extra serve --group tests-only -o requirements/crewai.txt
	$(COMPILE) pyproject.toml --extra embedded --extra mcp --extra serve --group conformance -o requirements/conformance.txt
	$(COMPILE) pyproject.toml --extra serve --group bench -o requirements/bench.txt

clean:  ## remove everything that was built
	rm -rf .venv* .mypy_cache .ruff_cache .pytest_cache .import_linter_cache dist

$(UV):
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

$(VENV)/.demo: $(UV) requirements/demo.txt pyproject.toml
	$(INSTALL) --python $(VENV) -r requirements/demo.txt
	$(EDITABLE) --python $(VENV)
	@touch $@

$(VENV)/.test: $(UV) requirements/test.txt pyproject.toml
	$(INSTALL) --python $(VENV) -r requirements/test.txt
	$(EDITABLE) --python $(VENV)
	@touch $@

.venv-%/.ready: $(UV) requirements/%.txt pyproject.toml
	$(UV) venv --quiet --clear --python $(PYTHON) .venv-$*
	$(INSTALL) --python .venv-$* -r requirements/$*.txt
	$(EDITABLE) --python .venv-$*
	@touch $@
