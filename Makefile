# make demo: the main job, end to end.  make test: the tests.  Both set up .venv first.
VENV := .venv
BIN := $(VENV)/bin
PEERS := .venv-peers
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	2>/dev/null && { command -v $$p; break; }; done)
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check \
	--constraint constraints.txt
RECIPE := setup.cfg pyproject.toml constraints.txt

.PHONY: demo test test-slow test-faults test-peers lint format clean

demo: $(VENV)/installed
	$(BIN)/recsim-drpo demo $(if $(EMBEDDINGS),--embeddings $(EMBEDDINGS)) $(ARGS)

test: $(VENV)/installed-dev
	$(BIN)/python -m pytest -m "not slow and not faults" -n 2 --dist loadfile $(ARGS)

test-slow: $(VENV)/installed-dev
	$(BIN)/python -m pytest -m "slow and not faults" $(ARGS)

# Kills, malformed input, full disks; a share of them by RECSIM_DRPO_FAULTS=0.1.
test-faults: $(VENV)/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m faults -n 2 --dist loadgroup $(ARGS)

# Against other people's implementations, in an environment of their own.
test-peers: $(PEERS)/installed
	$(PEERS)/bin/python -m pytest -m peer --no-skipped-peers $(ARGS)

lint: $(VENV)/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: $(VENV)/installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) $(PEERS) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/created:
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed; none was found." \
		"Say where it is: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	"$(PYTHON)" -m venv $(VENV)
	touch $@

$(VENV)/installed: $(VENV)/created $(RECIPE)
	@echo "Installing into $(VENV) (once; PyTorch is a large download) ..."
	$(PIP_INSTALL) --editable ".[plots,parquet]"
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(PIP_INSTALL) \
		--editable ".[plots,parquet,tensorboard,report,onnx,faiss,serve,d3rlpy,sb3,torchrl,dev]"
	touch $@

$(PEERS)/installed: $(RECIPE)
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed; none was found." >&2; exit 1; }
	"$(PYTHON)" -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check \
		--constraint constraints.txt --editable ".[plots,parquet,d3rlpy,peers,dev]"
	touch $@
