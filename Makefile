# The commands of this repository; CI runs the same ones. `make` lists them.
# You need Python 3.11 or newer with pip: make PYTHON=/path/to/python3.11
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python tools/pip_install.py
# Two processes. Tests share no server or database, except where one serves several tests.
PYTEST := $(BIN)/pytest -n 2 --dist worksteal
# More options for the measurement: make bench BENCH="--rows 200000 --rounds 1"
BENCH ?=
# Another time or other targets for fuzzing: make fuzz FUZZ="--cases 1000000 urls"
FUZZ ?= --seconds 10
# Only some guarantees: make mutants ONLY="fences masks"
ONLY ?=
COVERAGE ?= tests/unit tests/contract tests/integration
# Fewer tests on a cluster: make e2e E2E=tests/e2e/test_drain.py
E2E ?=
# Fewer combinations of versions: make matrix MATRIX="1.33+2.17 1.36+2.21+valkey"
MATRIX ?=
# The tests start many Python processes. Without the cache of bytecode, each of them compiles every module.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo live-view console-pictures dashboard-pictures test lint site unit chart fuzz mutants contract integration coverage example-at-scale apps bench generate krew cluster images e2e matrix soak cluster-down release-check pins clean

help: ## list the commands
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

# Debian ships venv and pip in separate packages: without python3-venv, the installed pip fills the folder.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Kubesweep needs Python 3.11 or newer: make PYTHON=/path/to/python3.11")'
	@echo "installing Kubesweep into $(VENV), once: Python's own tools, then its packages"
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null && $(PYTHON) -m venv $(VENV) \
	  || { $(PYTHON) -m venv --without-pip $(VENV) && $(PYTHON) -m pip --disable-pip-version-check --quiet --python $(BIN)/python install pip; } \
	  || { rm -rf $(VENV); echo "Neither venv nor pip works for $(PYTHON): on Debian, apt install python3-venv"; exit 1; }

EDITABLE := $(BIN)/python -m pip --disable-pip-version-check --quiet install --no-deps --no-build-isolation -e .

$(VENV)/run.stamp: requirements/run.txt requirements/build.txt pyproject.toml | $(BIN)/python
	@$(INSTALL) -r requirements/build.txt -r requirements/run.txt
	@$(EDITABLE)
	@touch $@

# dev.txt contains all of build.txt and run.txt, so one call of pip is enough.
$(VENV)/dev.stamp: requirements/run.txt requirements/build.txt requirements/dev.txt pyproject.toml | $(BIN)/python
	@$(INSTALL) -r requirements/dev.txt
	@$(EDITABLE)
	@touch $(VENV)/run.stamp $@

demo: $(VENV)/run.stamp ## sweep 200,000 conversations on this machine, no server needed
	@$(BIN)/kubesweep demo

live-view: $(VENV)/run.stamp ## record the picture of the live view that the README shows, from a real run
	$(BIN)/python -m tools.record_live_view

console-pictures: $(VENV)/dev.stamp ## take the pictures of the console that docs/console.md shows (needs Debian's chromium and chromium-driver)
	$(BIN)/python -m tools.record_console

dashboard-pictures: $(VENV)/dev.stamp ## draw the pictures of docs/dashboard.md (needs Debian's prometheus, chromium and chromium-driver)
	$(BIN)/python -m tools.record_dashboard

test: lint site unit chart fuzz contract integration ## everything that needs no cluster and no root

lint: $(VENV)/dev.stamp ## style, types, layers between packages, generated files, words, workflows
	@echo "== lint"
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tools.generate --check
	$(BIN)/python -m tools.check_words
	$(BIN)/python -m tools.check_editorconfig
	$(BIN)/python -m tools.check_workflows

$(VENV)/docs.stamp: requirements/docs.txt | $(VENV)/dev.stamp
	@$(INSTALL) -r requirements/docs.txt
	@touch $@

site: $(VENV)/docs.stamp ## the documentation as a web site, in .build/site
	@echo "== site"
	$(BIN)/python docs/site/build.py

unit: $(VENV)/dev.stamp ## pure functions
	@echo "== unit"
	$(PYTEST) tests/unit

chart: $(VENV)/dev.stamp ## what the Helm chart renders, accepts and rejects (needs Go, which builds helm once)
	@echo "== chart"
	$(BIN)/pytest tests/chart

fuzz: $(VENV)/dev.stamp ## damaged files, objects, URLs, records and answers, new ones in each run (options in FUZZ: docs/testing.md)
	@echo "== fuzz"
	$(BIN)/python -m tests.fuzz --processes 2 $(FUZZ)

mutants: $(VENV)/dev.stamp ## change the lines that keep the guarantees, and report changes that no test notices (tens of minutes; some of them: ONLY=fences)
	@echo "== mutants"
	$(BIN)/python -m tests.mutants $(ONLY)

contract: $(VENV)/dev.stamp ## every queue implementation against the same contract
	@echo "== contract"
	$(PYTEST) tests/contract

integration: $(VENV)/dev.stamp ## real Postgres, real processes
	@echo "== integration"
	$(PYTEST) tests/integration

# Processes that the tests start are measured too (patch = subprocess in pyproject.toml).
coverage: $(VENV)/dev.stamp ## which lines and branches the tests run, as a table and in .build/coverage (minutes; fewer tests: COVERAGE=tests/unit)
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -n 2 --dist worksteal $(COVERAGE)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage html --quiet
	$(BIN)/coverage report --skip-covered --sort=cover

example-at-scale: $(VENV)/dev.stamp ## a million rows and three workers, one of which is killed from time to time
	@$(BIN)/python examples/at-scale/storm.py

# One virtual environment for each application: their pins exclude each other.
$(VENV)/apps/%.stamp: requirements/apps/%.txt | $(VENV)/dev.stamp
	@$(BIN)/python -m venv --clear --without-pip $(VENV)/apps/$*
	@$(INSTALL) --python $(VENV)/apps/$*/bin/python -r $<
	@touch $@

# npm compiles SQLite for Node, which takes a minute or two. Without Node, the test that needs it is skipped.
SEQUELIZE := tests/apps/sequelize
$(VENV)/apps/sequelize.stamp: $(SEQUELIZE)/package.json $(SEQUELIZE)/package-lock.json | $(VENV)/dev.stamp
	@mkdir -p $(VENV)/apps/sequelize
	@cp $^ $(VENV)/apps/sequelize
	@echo "installing Sequelize into $(VENV)/apps/sequelize, once: it compiles SQLite, which takes minutes"
	@cd $(VENV)/apps/sequelize && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

APPS := $(patsubst requirements/apps/%.txt,$(VENV)/apps/%.stamp,$(wildcard requirements/apps/*.txt)) $(if $(shell command -v npm 2>/dev/null),$(VENV)/apps/sequelize.stamp)
apps: $(VENV)/dev.stamp $(APPS) ## six real applications, each swept next to its own clean-up command (installs them once: minutes)
	@echo "== apps"
	$(PYTEST) tests/apps tests/integration/test_example_django.py tests/integration/test_example_procrastinate.py

bench: $(VENV)/dev.stamp ## compare with one UPDATE and with a loop (minutes; options in BENCH)
	$(BIN)/python -m bench.sweep $(BENCH)

generate: $(VENV)/dev.stamp ## write the files that are generated from the code: CRD, references, plain manifest (needs Go)
	$(BIN)/python -m tools.generate
	$(BIN)/python -m tools.install_manifest

# More options: make krew KREW="--platform linux-amd64 --url https://example.com/releases/v1"
KREW ?=
krew: $(VENV)/dev.stamp ## the archives of `kubectl sweep` for Krew and their manifest, in .build/krew (fetches wheels: minutes)
	$(BIN)/python -m tools.krew $(KREW)

# Other versions and two nodes, for cluster, images and e2e: KUBERNETES=1.33 KEDA=2.17 NODES=2 QUEUE=valkey
cluster: ## a real Kubernetes on this machine, without Docker (root, Go 1.26, Debian's packages; options: docs/testing.md)
	@$(PYTHON) -m tests.cluster up

images: $(if $(filter e2e soak,$(MAKECMDGOALS)),cluster) ## build the controller's and the worker's image if they changed, and load them into the cluster
	@$(PYTHON) -m tests.cluster images

cluster-down: ## delete the cluster and everything that it created
	@$(PYTHON) -m tests.cluster down

e2e: $(VENV)/dev.stamp $(if $(E2E_KUBECONFIG),,cluster images) ## the tests on that cluster, or on yours: E2E_KUBECONFIG, E2E_IMAGES (docs/testing.md)
	@echo "== e2e"
	$(BIN)/pytest $(or $(E2E),tests/e2e) -n 3 --durations=15 $(if $(E2E_KUBECONFIG),-m "not bed")

matrix: $(VENV)/dev.stamp ## e2e on each supported combination of Kubernetes, KEDA and queue, into the table of docs/testing.md (hours; options in MATRIX)
	@$(BIN)/python -m tests.cluster.matrix $(MATRIX)

HOURS ?= 8
soak: $(VENV)/dev.stamp cluster images ## fifty schedules on that cluster, with a fault every minute: make soak HOURS=0.5 SEED=7 (docs/testing.md)
	$(BIN)/python -m tests.soak --hours $(HOURS) $(if $(SEED),--seed $(SEED))

release-check: $(VENV)/dev.stamp ## build what a release publishes, and use it: wheel, sdist, chart, manifests; on a running cluster also upgrade from the last release (needs Go)
	$(BIN)/python -m tools.release check

PIN := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate
pins: ## update the pins of every dependency, with hashes (needs uv)
	$(PIN) pyproject.toml -o requirements/run.txt
	$(PIN) --constraint requirements/run.txt --group worker-image -o requirements/worker.txt
	$(PIN) --constraint requirements/run.txt --group controller-image -o requirements/controller.txt
	$(PIN) --constraint requirements/run.txt --constraint requirements/controller.txt --extra controller --extra kubectl --group dev -o requirements/dev.txt pyproject.toml
	$(PIN) --constraint requirements/dev.txt --extra kubectl -o requirements/kubectl.txt pyproject.toml
	echo zensical | $(PIN) --constraint requirements/dev.txt - -o requirements/docs.txt
	echo hatchling | $(PIN) - -o requirements/build.txt
	printf '%s\n' apache-airflow psycopg2-binary asyncpg | $(PIN) - -o requirements/apps/airflow.txt
	printf '%s\n' 'celery[sqlalchemy]' 'psycopg[binary]' | $(PIN) - -o requirements/apps/celery.txt
	printf '%s\n' django-oauth-toolkit 'django>=5.2,<6' 'psycopg[binary]' | $(PIN) - -o requirements/apps/django-oauth-toolkit.txt
	cd $(SEQUELIZE) && npm install --package-lock-only --omit-lockfile-registry-resolved --ignore-scripts

clean: ## remove what the commands above created
	rm -rf $(VENV) .build/coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
