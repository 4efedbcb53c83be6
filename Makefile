# Every target works alone in a fresh clone, with Python 3.11 or later and a package index.

PYTHON ?= python3
# More arguments for the target's command: make test ARGS="-k stream"
ARGS ?=

BIN := .venv/bin
SERVING := .venv/.serving
INSTALLED := .venv/.installed
EMBEDDED := server/classwire_server/models/stars-en
ENVOY := .venv/envoy/bin/envoy
RAY := .ray/.installed
STEP := $(BIN)/python -m scripts.step
INSTALL := $(BIN)/python -m pip --disable-pip-version-check install --progress-bar off --no-compile \
	--no-build-isolation --constraint requirements.lock

# Python keeps what it compiles at the first import. pip compiles nothing, to install faster, so
# without this every process would compile all modules of torch that it imports.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo serve real-weights test check style types contract leaks proto lock \
	train-embedded reference bench chaos compat \
	conformance conformance-vectors notebook wheels test-wheels test-grpcio test-tritonclient test-old-contract \
	envoy fleet test-envoy ray test-ray gpu gpu-wheels docs dashboards picture replay-image release audit clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-19s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(INSTALLED) ## Install everything that requirements.lock names into .venv

# Packages for serving. scripts.locked fails if pip installed a version that the lock does not name.
$(SERVING): requirements.lock pyproject.toml client/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or later is needed; name one: make setup PYTHON=python3.12" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m scripts.step "Creating .venv" $(PYTHON) -m venv .venv
	@$(BIN)/python -m scripts.torch_build
	@$(STEP) "Installing the build tool" $(INSTALL) hatchling
	@$(STEP) "Installing the packages for serving" \
		$(INSTALL) -e ./client -e '.[tracing]'
	@$(BIN)/python -m scripts.locked tracing
	@touch $@

# The development tools too.
$(INSTALLED): $(SERVING)
	@$(STEP) "Installing the development tools" \
		$(INSTALL) -e ./client -e '.[adapters,dev,tracing,train,bench]'
	@$(BIN)/python -m scripts.locked adapters,dev,tracing,train,bench
	@touch $@

demo: $(SERVING) ## Show stages, windows, a stream and a crash on a server of its own (ARGS=--plain)
	@$(BIN)/classwire demo $(ARGS)

serve: $(SERVING) ## Serve the embedded checkpoint until interrupted (ARGS: options of `classwire serve`)
	@$(BIN)/classwire serve $(ARGS)

real-weights: setup ## Install the public weights that some tests and the training need (83 MB)
	@$(STEP) "Installing the weights" $(INSTALL) -e ./client -e '.[real-weights]'
	@$(BIN)/python -m scripts.locked real-weights

test: setup ## Run the tests (ARGS: arguments of pytest)
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder $(ARGS)

notebook: setup ## Run the notebooks of examples/notebook and compare with their stored outputs
	@$(BIN)/python -m pytest tests/notebook $(ARGS)

check: style types contract leaks ## Check style, types, the contract, and that nothing leaks
	@echo "make check: passed"

style: setup ## Check formatting, lint and banned phrases
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/python scripts/phrases.py

types: setup ## Check types, strictly
	@$(BIN)/mypy client server tests training benchmarks conformance scripts examples

contract: setup ## Check the contract's style, its compatibility and the code generated from it
	@scripts/check-contract

leaks: setup ## Check that no machine path, registry host or secret is in the repository
	@$(BIN)/python scripts/leaks.py

proto: setup ## Generate the client's stubs from protos/
	@$(BIN)/buf format --write
	@scripts/generate-stubs client

lock: setup ## Resolve requirements.in into requirements.lock (ARGS=--upgrade: take the newest versions)
	@scripts/lock $(ARGS)

train-embedded: real-weights ## Train the embedded checkpoint on the data in CLASSWIRE_TRAINING_DATA
	@test -n "$(CLASSWIRE_TRAINING_DATA)" || \
		{ echo "CLASSWIRE_TRAINING_DATA must name the folder of the training data" >&2; exit 2; }
	$(BIN)/python -m training --data "$(CLASSWIRE_TRAINING_DATA)" --output $(EMBEDDED) $(ARGS)

reference: setup ## Compare with nlptown's published outputs (weights in CLASSWIRE_NLPTOWN_WEIGHTS)
	@test -n "$(CLASSWIRE_NLPTOWN_WEIGHTS)" || \
		{ echo "CLASSWIRE_NLPTOWN_WEIGHTS must name the folder of the reference checkpoint" >&2; exit 2; }
	@CLASSWIRE_NLPTOWN_WEIGHTS="$(CLASSWIRE_NLPTOWN_WEIGHTS)" \
		$(BIN)/python -m pytest tests/parity/test_golden.py $(ARGS)

bench: envoy ray ## Measure engines and servers against the targets (ARGS=--short: a shorter run)
	@$(BIN)/python -m benchmarks $(ARGS)

chaos: envoy ray ## Test servers under load, faults and malformed messages (ARGS: names of trials, --short)
	@$(BIN)/python -m tests.chaos $(ARGS)

compat: setup ## Serve every model type of transformers and compare scores (ARGS: --precisions, --only TYPE)
	@$(BIN)/python -m tests.compat $(ARGS)

conformance: setup ## Run the conformance vectors in every installed language (ARGS: --only go,ruby)
	@$(BIN)/python -m conformance $(ARGS)

conformance-vectors: setup ## Write conformance/vectors.json with transformers
	@$(BIN)/python -m conformance.generation $(ARGS)

wheels: setup ## Build both distributions into dist/
	@rm -rf dist
	@$(BIN)/python -m build --no-isolation --outdir dist client
	@$(BIN)/python -m build --no-isolation --outdir dist .

test-wheels: wheels ## Test the built wheels in new environments, without the sources
	@scripts/test-wheels

test-grpcio: setup ## Test with the lowest and the highest grpcio that the server allows
	@scripts/test-grpcio

test-tritonclient: setup ## Test Triton's own client against a server, in a new environment
	@scripts/test-tritonclient

test-old-contract: setup ## Test the wheels of contract 1.0 against this checkout's client and server
	@scripts/test-old-contract

envoy: setup $(ENVOY) ## Install Envoy into .venv/envoy (37 MB)

# An environment of its own: Envoy is no package of Classwire's, so requirements.lock does not name it.
$(ENVOY): deploy/envoy/requirements.txt
	@test -x $(BIN)/python || $(MAKE) setup
	@$(STEP) "Creating .venv/envoy" $(PYTHON) -m venv .venv/envoy
	@$(STEP) "Installing Envoy" .venv/envoy/bin/python -m pip --disable-pip-version-check install \
		--progress-bar off --no-compile --requirement deploy/envoy/requirements.txt
	@touch $@

fleet: envoy ## Start two servers behind Envoy, until interrupted (ARGS: --replicas N, --port PORT)
	@$(BIN)/python -m scripts.fleet $(ARGS)

test-envoy: envoy ## Test deploy/envoy with Envoy, servers and a browser
	@$(BIN)/python -m pytest tests/proxies/envoy $(ARGS)

ray: setup $(RAY) ## Install Ray into .ray, an environment on top of .venv (170 MB)

$(RAY): tests/ray/requirements.txt scripts/overlay.py
	@$(STEP) "Creating .ray" $(BIN)/python -m scripts.overlay .ray
	@$(STEP) "Installing Ray" .ray/bin/python -m pip --disable-pip-version-check install \
		--progress-bar off --no-compile --no-deps --requirement tests/ray/requirements.txt
	@touch $@

test-ray: ray ## Test servers on Ray Serve and jobs on Ray Data, on clusters within this machine
	@.ray/bin/python -m pytest tests/ray $(ARGS)

# Without setup: that machine has no network, and torch and transformers of its own.
gpu: ## Test and measure on a GPU, with the wheels of `make gpu-wheels` (ARGS: --output FOLDER)
	@$(PYTHON) -m scripts.gpu $(ARGS)

gpu-wheels: setup ## Collect what `make gpu` needs on a machine without a network (ARGS: --python 3.12)
	@$(STEP) "Collecting the wheels" $(BIN)/python -m scripts.gpu_wheels $(ARGS)

docs: setup ## Build the documentation site, site/index.html; fails on a dead link
	@$(BIN)/python -m sphinx --fail-on-warning --keep-going --nitpicky --quiet $(ARGS) docs site

dashboards: setup ## Test dashboard and alerts with servers and a real Prometheus (Debian's package)
	@$(BIN)/python -m tests.dashboards $(ARGS)

picture: setup ## Put a run of `make demo` into the README, as a picture and as text
	@$(BIN)/python -m scripts.terminal_picture

replay-image: setup ## Build the CPU image without Docker and run it (Linux, as root)
	@$(BIN)/python -m scripts.replay_image $(ARGS)

release: setup ## Check, set VERSION, build, verify, commit and tag (ARGS: --dry-run, --skip-tests)
	@$(BIN)/python -m scripts.release $(VERSION) $(ARGS)

audit: setup ## Look up every locked version in the advisory database
	@$(BIN)/uv tool run pip-audit --strict --disable-pip --no-deps --requirement requirements.lock

clean: ## Remove .venv and everything built
	@rm -rf .venv .peers .ray .compat .conformance .gpu dist gpu-report site wheels .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
