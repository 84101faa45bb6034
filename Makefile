# Everything a newcomer, an operator or CI needs. A fresh machine has Python 3.11, pip, venv, make, gcc and git.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: install up test check format prove chaos load bench bench-small profile fuzz lock audit clean

install: $(STAMP)

# Hashes are checked; the lock is written by `make lock` alone.
$(STAMP): requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "needs Python 3.11: set PYTHON=/path/to/python3" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

# Builds the example versions on the first run, serves, registers, deploys and promotes them.
up: install
	@$(BIN)/python -m bentos.up

test: install
	$(BIN)/python -m tests

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_lock.py

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The figures of the main job at full size (flips, kills, Redis away): about 10 minutes.
prove: install
	$(BIN)/python -m loadtests.prove

# Every guarantee, one after another, at most 45 minutes; writes the table in docs/proofs.md (quiet machine).
# After an interruption: make chaos ARGS=--resume
chaos: install
	$(BIN)/python -m loadtests.chaos $(ARGS)

# Every locust scenario, 20 s each, and a summary by version: see loadtests/locust/README.md.
load: install
	$(BIN)/python -m loadtests.locust

# Side by side with `bentoml serve` and nginx (apt-get install wrk nginx-light): about 35 minutes, quiet machine.
bench: install
	$(BIN)/python -m loadtests.bench

# What CI runs of it: ratios against loadtests/bench/recorded.json.
bench-small: install
	$(BIN)/python -m loadtests.bench.small

# Flame graph of the routers under load, and their CPU time a request by room (pip install py-spy).
profile: install
	$(BIN)/python -m loadtests.bench.profile --out docs/profile.svg

# Every parser under a coverage-guided fuzzer, SECONDS each (60): about 20 minutes. atheris is not in the lock.
fuzz: install
	$(BIN)/python -c 'import atheris' 2>/dev/null || $(BIN)/pip install --quiet --disable-pip-version-check --no-build-isolation -e '.[fuzz]'
	$(BIN)/python -m tests.fuzz --seconds $(or $(SECONDS),60)
	$(BIN)/python -m tests.openapi --examples 200

# Writes requirements.lock anew from pyproject.toml.
lock:
	$(PYTHON) -m venv $(VENV)-lock
	$(VENV)-lock/bin/pip install --quiet pip-tools
	$(VENV)-lock/bin/pip-compile --quiet --upgrade --generate-hashes --extra dev --no-emit-index-url \
	  --no-emit-trusted-host --no-header --strip-extras --allow-unsafe -o requirements.lock pyproject.toml
	rm -r $(VENV)-lock

# Every package of the lock against the public advisory database; needs the internet.
audit:
	$(PYTHON) -m venv $(VENV)-audit
	$(VENV)-audit/bin/pip install --quiet --disable-pip-version-check pip-audit
	$(VENV)-audit/bin/pip-audit --requirement requirements.lock --require-hashes --disable-pip
	rm -r $(VENV)-audit

clean:
	rm -rf $(VENV) bentos/build .pointsman
