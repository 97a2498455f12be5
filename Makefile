# Each target does all of its set-up itself: a virtual environment and one pinned install the first time
# (minutes), a look at a checksum after that (a second).

PYTHON := .venv/bin/python
.DEFAULT_GOAL := help

# Threads that wait by spinning bring a busy machine down; the work here is written for one thread.
export OMP_WAIT_POLICY = PASSIVE
export OPENBLAS_NUM_THREADS = 1
export NUMBA_NUM_THREADS = 1

.PHONY: help ready demo test lint bench soak peers pictures clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

ready: ## make or refresh .venv, if pyproject.toml or constraints.txt have changed
	@.ci/setup

demo: ready ## trade ten perpetuals against the local exchange, in this terminal (no keys, no network)
	@echo "make demo: local exchange, engine and terminal, seed 7; q leaves the terminal"
	@.venv/bin/cockpit demo

test: ready ## format, lint, types, import contracts and every test
	@echo "make test: formatter, linter, types, import contracts and all tests, on two processes"
	@$(PYTHON) -m pytest -n 2 --dist loadfile

lint: ready ## the checks alone, without the tests of behaviour
	@echo "make lint: formatter, linter, types, import contracts, house style"
	@$(PYTHON) -m pytest tests/project

bench: ready ## measure speed against a plain baseline in the same run, and keep the table
	@echo "make bench: each figure beside its baseline; kept in tests/bench/results/latest.md"
	@$(PYTHON) -m tests.bench --keep

soak: ready ## kill the engine 200 times while the exchange misbehaves (a quarter of an hour), then run it hard
	@echo "make soak: 200 SIGKILLs with faults, then minutes at a high message rate; what was lost or grew, if anything"
	@$(PYTHON) -m tests.soak.kill_campaign
	@$(PYTHON) -m tests.soak.high_rate

peers: .venv-peers/stamp ## make .venv-peers with vectorbt and nautilus_trader, which make bench then runs beside us

# An environment of its own: what they ask for is not what is pinned here. vectorbt's templates need an older plotly.
.venv-peers/stamp: | ready
	@echo "make peers: installs vectorbt and nautilus_trader into .venv-peers (a minute or two)"
	@$(PYTHON) -m venv --clear .venv-peers
	@.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check vectorbt==1.0.0 nautilus_trader==1.221.0 'plotly<6'
	@touch .venv-peers/stamp

pictures: ready ## draw the README's pictures of the screen
	@echo "make pictures: draws the screen into cockpit/pictures/"
	@$(PYTHON) tests/cockpit/pictures.py

clean: ## remove .venv, .venv-peers and every cache (never your ledgers and models)
	@echo "make clean: removes .venv, .venv-peers and caches"
	@rm -rf .venv .venv-peers build *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	@find core cockpit tests -name __pycache__ -type d -prune -exec rm -rf {} +
