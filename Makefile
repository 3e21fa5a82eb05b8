# install: the set-up alone    demo: the scenario, from nothing to nothing    test: every test, but
# test-node: those of whole meshes, with one proxy for the machine in the place of sidecars
# test-cluster: those on a whole Kubernetes, compiled first if it is not kept yet (5 minutes), or with several control planes
# check: format, lint, types, layers and every test                          bench: the figures
# fuzz: objects that nobody thought of, for 10 minutes, or MINUTES=...
# chaos: a mesh that is struck for 10 minutes, or MINUTES=..., from a seed, or SEED=...
# image: the image for a cluster, by podman; IMAGE=NAME:TAG and ARCHIVE=FILE.tar name it and write it
# rotations: certificates, authorities and modes change under load for two minutes: no request may fail
.PHONY: install demo test test-node test-cluster lint check format lock bench fuzz chaos rotations image

install:
	@scripts/setup

demo: install
	@.venv/bin/python examples/calculator/demo.py

test:
	@scripts/setup tests
	@.venv/bin/python -m pytest -n auto $(PYTEST)

test-node:
	@scripts/setup tests
	@PILOTFISH_TEST_PROXY=node .venv/bin/python -m pytest -n auto tests/e2e $(PYTEST)

test-cluster:
	@scripts/setup tests
	@.venv/bin/python -m tests.cluster build
	@.venv/bin/python -m pytest -m long tests/cluster $(PYTEST)

lint: install
	@.venv/bin/ruff format --check --quiet .
	@.venv/bin/ruff check --quiet .
	@.venv/bin/mypy
	@.venv/bin/lint-imports

check: lint test

format: install
	@.venv/bin/ruff format .
	@.venv/bin/ruff check --fix .

lock:
	@scripts/lock

bench: install
	@.venv/bin/python -m bench

fuzz: install
	@.venv/bin/python -m tests.fuzz --minutes $(or $(MINUTES),10)

chaos: install
	@.venv/bin/python -m tests.chaos --minutes $(or $(MINUTES),10) $(if $(SEED),--seed $(SEED)) $(CHAOS)

rotations: install
	@.venv/bin/python -m bench.rotations

image:
	@scripts/image $(or $(IMAGE),pilotfish:$(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)) $(ARCHIVE)
