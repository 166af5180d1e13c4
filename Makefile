# What a newcomer and CI type. `make` alone lists it.
.DEFAULT_GOAL := help
.PHONY: help setup test test-ray parity-envs demo chaos lock clean
MAKEFLAGS += --no-print-directory

UV ?= uv
COMPILE = $(UV) pip compile pyproject.toml --quiet --universal --generate-hashes --no-header --no-emit-index-url \
	--python-version 3.11

COMPILE_PARITY = $(UV) pip compile - --quiet --universal --generate-hashes --no-header --no-emit-index-url --no-annotate \
	--python-version 3.11

help:
	@echo 'make demo     The whole loop on this machine: sensors, alarms, training, a signed rollout. Two minutes.'
	@echo '              DATA=FOLDER real recordings instead of the simulator   SITES=a,b,c   SEED=N'
	@echo '              SPEED=N replays N rows of each recording a second, 10 to 100 (40)'
	@echo '              KEEP=1 leaves the services running                     JSON=1 prints figures as JSON'
	@echo 'make test     Style, types, layers, and all tests. CI=true demands every real service.'
	@echo '              ARGS="-k stack" goes to pytest.'
	@echo 'make test-ray The trainer on a Ray cluster, in an environment of its own (.venv-ray; 1.3 GB).'
	@echo 'make parity-envs  An environment for each TFLite runtime that models are certified for, below build/parity.'
	@echo 'make chaos    Kill, cut, stall and fill for an hour; count what is lost, duplicated, reordered.'
	@echo '              PART=bridge|replicator  N=1000  SEED=1; goes on where it was stopped      LEADERS=50 more on three Kafkas'
	@echo '              CHAPTER=5/1/kafka/3 repeats one chapter      SPARKPLUG=50 more from an edge node      JSON=1 prints JSON'
	@echo '              SHARED=50 more where instances share the link (replicator)'
	@echo 'make setup    Only what both do first: .venv, packages, Kafka. PYTHON=... chooses the Python.'
	@echo 'make lock     Resolve the dependencies of pyproject.toml again into lock/ (needs uv; UPGRADE=1 for newer ones).'
	@echo 'make clean    Remove .venv and what tools left; not what the local stack keeps.'

setup:
	@PYTHON='$(PYTHON)' .ci/setup

# Each check runs whatever the one before said, and pytest comes last, so that its summary ends the output.
test: setup
	@failed=; \
	.venv/bin/ruff check . || failed="$$failed ruff"; \
	.venv/bin/mypy || failed="$$failed mypy"; \
	.venv/bin/lint-imports --no-logo || failed="$$failed lint-imports"; \
	[ -z "$$failed" ] || echo "make test: FAILED already:$$failed"; \
	.venv/bin/pytest $(ARGS) || failed="$$failed pytest"; \
	[ -z "$$failed" ] || { echo "make test: failed:$$failed" >&2; exit 1; }

# Where models are certified: each runtime of the fleet in an environment of its own (.ci/parity-envs).
parity-envs: setup
	@.ci/parity-envs

# Ray is 200 MB that nobody else needs, so it has an environment and a lock of its own.
test-ray: .venv-ray/set-up
	@.venv-ray/bin/python -m pytest $(or $(ARGS),tests/cloud_trainer/running)

.venv-ray/set-up: lock/ray.txt pyproject.toml | setup
	@.venv/bin/python -m venv --clear .venv-ray
	@.venv-ray/bin/python -m pip install --disable-pip-version-check --no-input --quiet --no-deps --require-hashes -r lock/ray.txt
	@.venv-ray/bin/python -m pip install --disable-pip-version-check --no-input --quiet --no-deps -e .
	@touch $@

demo: setup
	@.venv/bin/headwater demo $(if $(DATA),--data '$(DATA)') $(if $(SITES),--sites '$(SITES)') \
	  $(if $(SEED),--seed '$(SEED)') $(if $(SPEED),--speed '$(SPEED)') $(if $(KEEP),--keep) $(if $(JSON),--json)

# Finished chapters are kept in build/chaos; the same seed goes on behind them.
chaos: setup
	@.venv/bin/python -m tests.chaos $(or $(PART),bridge) -n $(or $(N),1000) --seed $(or $(SEED),1) \
	  $(if $(LEADERS),--leaders $(LEADERS)) $(if $(SPARKPLUG),--sparkplug $(SPARKPLUG)) $(if $(SHARED),--shared $(SHARED)) $(if $(CHAPTER),--chapter '$(CHAPTER)') $(if $(JSON),--json)

lock:
	@command -v $(UV) >/dev/null || { echo 'make lock needs uv: pip install uv, or UV=/path/to/uv' >&2; exit 1; }
	$(COMPILE) $(if $(UPGRADE),--upgrade) -c lock/constraints.txt --extra decoders --extra train --extra report --extra stack --extra dev -o lock/dev.txt
	$(COMPILE) -c lock/dev.txt -o lock/edge.txt
	$(COMPILE) -c lock/dev.txt --extra decoders --extra train --extra report --extra stack --extra dev --extra ray -o lock/ray.txt
	$(COMPILE) -c lock/dev.txt --extra train --extra report -o lock/cloud.txt
	printf '%s\n' ai-edge-litert numpy msgspec pydantic | $(COMPILE_PARITY) -c lock/edge.txt -o lock/parity-ai-edge-litert.txt
	printf '%s\n' tflite-runtime==2.14.0 'numpy<2' msgspec pydantic | $(COMPILE_PARITY) -o lock/parity-tflite-runtime.txt
	cp lock/kafka-jars.txt headwater/app/stack/kafka-jars.txt
	@! grep -nE 'https?://' lock/dev.txt lock/edge.txt lock/cloud.txt lock/ray.txt lock/parity-*.txt || { echo 'a lock names an index' >&2; exit 1; }

clean:
	rm -rf .venv .venv-ray build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
