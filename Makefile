# What can be done with this checkout. `make` alone lists it.

PYTHON ?= python3
BIN := .venv/bin
# What running needs, and what working on it needs besides.
RUNNABLE := .venv/.runnable
INSTALLED := .venv/.installed
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
COMPILE := CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/pip-compile --quiet --strip-extras --generate-hashes --allow-unsafe \
	--no-emit-index-url --no-emit-find-links --no-emit-trusted-host $(if $(UPGRADE),--upgrade)
# What the environment lacks is taken from .env, if there is one: NAME=value lines, each value literally.
DOTENV := $(BIN)/python -m tracker.dotenv
FLOWER_PORT := $(or $(PORT),5555)
# Without the ids, which only fill the page.
FLOWER_COLUMNS := name,args,state,received,runtime,worker

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: mutants help install demo test simulate bench fuzz chaos endurance lint audit format up debug flower lock clean

help: ## List these commands
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | while IFS="$$(printf '\t')" read -r name text; do printf '  make %-9s %s\n' "$$name" "$$text"; done

install: $(INSTALLED) ## Make .venv with everything, as locked; quick when nothing has changed

$(RUNNABLE): requirements/demo.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { echo "make: needs Python 3.11 or newer; name one with: make install PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "make: this Python has no venv; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@$(BIN)/python -c '' 2>/dev/null || $(PYTHON) -m venv --clear .venv
	@echo "make: installing what running needs into .venv, which takes about a minute the first time"
	@$(PIP) --require-hashes -r requirements/demo.txt
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

$(INSTALLED): requirements/dev.txt $(RUNNABLE)
	@echo "make: installing what tests and checks need into .venv, which takes about a minute the first time"
	@$(PIP) --require-hashes -r requirements/dev.txt
	@touch $@

demo: $(RUNNABLE) ## Run everything here and import five jobs (KEEP=1: stay up to look around)
	$(BIN)/python -m sandbox.demo $(if $(filter-out 0,$(KEEP)),--keep)

test: install ## Run all tests (ARGS="-k name": some of them)
	$(BIN)/python -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile $(ARGS)

bench: install ## Measure everything against its goals, 25 minutes on a quiet machine (FIGURES="throughput idle", RUNS=5)
	@$(BIN)/python -c 'import matplotlib' 2>/dev/null || $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bench.txt
	$(BIN)/python -m benchmarks $(FIGURES) --runs $(or $(RUNS),5)

mutants: install ## Switch off each rule in turn and see that it is missed (ON=schedules|source, SEEDS=20000, FIRST=0, ARGS="no quarantine")
ifneq ($(ON),source)
	$(BIN)/python -m tests.simulation.mutants --seeds $(or $(SEEDS),20000) --first $(or $(FIRST),0) $(if $(ARGS),"$(ARGS)")
endif
ifneq ($(ON),schedules)
	$(BIN)/python -m tests.source_mutants $(if $(ARGS),"$(ARGS)")
endif

simulate: install ## Run schedules of everything going wrong, on virtual time (SEEDS=10000, FIRST=0, ON=model|scripts, VERBOSE=1)
	$(BIN)/python -m tests.simulation --seeds $(or $(SEEDS),10000) --first $(or $(FIRST),0) $(if $(ON),--on $(ON)) $(if $(VERBOSE),--verbose)

chaos: install ## Real Kafka and Valkey, faults at random (FAULTS=200, SEED=, RATE=1000, SCENARIOS=original, OUTPUT=file, ARGS=)
	$(BIN)/python -m tests.chaos run $(if $(SEED),--seed $(SEED)) $(if $(FAULTS),--total $(FAULTS)) $(if $(RATE),--rate $(RATE)) \
		$(if $(SCENARIOS),--scenarios $(SCENARIOS)) $(if $(OUTPUT),--output $(OUTPUT)) $(ARGS)

endurance: install ## Steady load with faults; fails when memory or Redis grows (MINUTES=60, SEED=, ARGS=)
	$(BIN)/python -m tests.chaos endurance --minutes $(or $(MINUTES),60) $(if $(SEED),--seed $(SEED)) $(ARGS)

fuzz: install ## Throw random input at what foreign input can reach (MINUTES=5, FIRST=0)
	$(BIN)/python -m tests.fuzz --minutes $(or $(MINUTES),5) --first $(or $(FIRST),0)

lint: install ## Check style, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# In an environment of its own: what audits our packages is none of them. --strict: what cannot be looked up is no pass.
audit: install ## Ask the package index which locked packages have known vulnerabilities; fails where it cannot tell
	@[ -x .venv/audit/bin/pip-audit ] || { $(PYTHON) -m venv .venv/audit && .venv/audit/bin/pip install --quiet --disable-pip-version-check pip-audit; }
	@.venv/audit/bin/pip-audit --strict --disable-pip --require-hashes --progress-spinner off -r requirements/runtime.txt -r requirements/build.txt -r requirements/dev.txt \
		|| { echo "make audit: a package is vulnerable, or there is no way to the database of advisories: see above" >&2; exit 1; }

format: install ## Put the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

up: $(RUNNABLE) ## Run bridge, workers, beat and web against the services in the environment, or in .env
	@$(DOTENV) $(BIN)/tracker up

debug: $(RUNNABLE) ## The same, with logs for reading
	@$(DOTENV) env HUMAN_LOG=1 $(BIN)/tracker up

flower: $(RUNNABLE) ## Watch the tasks in a browser (PORT=5555)
	@$(BIN)/python -c 'import socket, sys; socket.create_server(("127.0.0.1", int(sys.argv[1]))).close()' "$(FLOWER_PORT)" 2>/dev/null \
		|| { echo "make: cannot listen at 127.0.0.1:$(FLOWER_PORT); name a free port with: make flower PORT=5600" >&2; exit 1; }
	@$(DOTENV) $(BIN)/celery -A tracker flower --address=127.0.0.1 --port=$(FLOWER_PORT) --tasks-columns=$(FLOWER_COLUMNS)

# By the oldest Python there is support for, Debian 12's: what it needs besides, newer ones need not mind; the other way round the
# lock would lack it. Not by the `dev` extra: it names this project itself, which has no hash.
lock: install ## Lock the dependencies anew (UPGRADE=1: to their newest versions)
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info >= (3, 11, 3))' || { echo "make lock: needs a .venv of Python 3.11.2 or older, as Debian 12 has: make clean lock PYTHON=/usr/bin/python3" >&2; exit 1; }
	$(COMPILE) --extra web --extra flower --extra history --extra demo --extra tools --output-file requirements/dev.txt pyproject.toml
	$(COMPILE) --extra web --extra flower --extra history --extra demo --constraint requirements/dev.txt --output-file requirements/demo.txt pyproject.toml
	$(COMPILE) --extra web --extra flower --extra history --constraint requirements/dev.txt --output-file requirements/runtime.txt pyproject.toml
	$(COMPILE) --extra bench --constraint requirements/dev.txt --output-file requirements/bench.txt pyproject.toml
	$(COMPILE) --build-deps-for wheel --only-build-deps --constraint requirements/dev.txt --output-file requirements/build.txt pyproject.toml

clean: ## Remove .venv, caches and what was built
	rm -rf .venv .run .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
