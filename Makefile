# make demo: the main job, end to end.  make test: the tests.  Both set up .venv first.
VENV := .venv
BIN := $(VENV)/bin
PEERS := .venv-peers
RELEASE := .venv-release
DOCS := .venv-docs
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	2>/dev/null && { command -v $$p; break; }; done)
RECIPE := setup.cfg pyproject.toml constraints.txt
FOR_DEMO := .[plots,parquet]
FOR_TESTS := .[plots,parquet,tensorboard,report,onnx,faiss,serve,sweep,d3rlpy,sb3,torchrl,dev]
FOR_PEERS := .[plots,parquet,d3rlpy,peers,dev]

# Environment, extras: on a terminal with pip's own progress, elsewhere only what goes wrong.
define INSTALL
@quiet=--quiet; if [ -t 1 ]; then quiet=; fi; $(1)/bin/python -m pip install $$quiet \
	--disable-pip-version-check --constraint constraints.txt --editable "$(2)"
@touch $@
@echo "Installed: $(1) takes $$(du -sm $(1) | cut -f 1) MB."
endef

.PHONY: demo test test-slow test-faults test-peers lint format docs release release-try clean

demo: $(VENV)/installed
	$(BIN)/recsim-drpo demo $(if $(EMBEDDINGS),--embeddings $(EMBEDDINGS)) $(ARGS)

# One thread in each of two processes: more would wait for one another. What Python compiles is kept,
# whatever the shell says: each process would compile all tests anew.
PYTEST := PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest

test: $(VENV)/installed-dev
	$(PYTEST) -m "not slow and not faults" -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

test-slow: $(VENV)/installed-dev
	$(PYTEST) -m "slow and not faults" -n 2 --dist loadfile $(ARGS)

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
	$(BIN)/hadolint Dockerfile

format: $(VENV)/installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# In site: the documentation, whose links are checked. It needs no network, here or where it is read.
docs: $(DOCS)/installed
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/python -m mkdocs build --strict --quiet
	$(DOCS)/bin/python .ci/check_site.py site

# In dist: sdist, wheel, a CycloneDX SBOM of the pinned versions and the changelog's section, after the
# wheel was tried in a clean environment; nothing if a version is vulnerable, or not known not to be.
# AUDIT=FILE is a report of pip-audit from where there is a network.
release: $(RELEASE)/installed
	$(RELEASE)/bin/python .ci/audit.py $(AUDIT)
	$(RELEASE)/bin/python .ci/release.py dist

# The same into build/release without looking up vulnerabilities: to try, not to publish.
release-try: $(RELEASE)/installed
	$(RELEASE)/bin/python .ci/release.py build/release

clean:
	rm -rf $(VENV) $(PEERS) $(RELEASE) $(DOCS) build dist site *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/created:
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed; none was found." \
		"Say where it is: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	"$(PYTHON)" -m venv $(VENV)
	touch $@

$(VENV)/installed: $(VENV)/created $(RECIPE)
	@if [ -e $@ ]; then echo "Installing anew what has changed ..."; else \
	echo "Installing into $(VENV), once: 46 packages, PyTorch, SciPy, scikit-learn, pyarrow, Matplotlib"; \
	echo "and Minari the large ones: 350 MB to download, 1.5 GB on the disk, a minute or a few."; \
	echo "(PyTorch with CUDA, as PyPI has it for Linux, is gigabytes more. Without:"; \
	echo " PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make $(or $(MAKECMDGOALS),demo))"; fi
	$(call INSTALL,$(VENV),$(FOR_DEMO))

$(VENV)/installed-dev: $(VENV)/installed
	@if [ -e $@ ]; then echo "Installing anew what has changed for the tests ..."; else \
	echo "Installing what the tests need beside it (ruff, mypy, ONNX Runtime, d3rlpy, ...): half a GB"; \
	echo "more on the disk, a minute or a few."; fi
	$(call INSTALL,$(VENV),$(FOR_TESTS))

$(PEERS)/installed: $(RECIPE)
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed; none was found." >&2; exit 1; }
	"$(PYTHON)" -m venv --clear $(PEERS)
	@echo "Installing what the comparisons with other implementations need into $(PEERS) ..."
	$(call INSTALL,$(PEERS),$(FOR_PEERS))

# Only the tools of an extra, not the package: environment, extra.
define INSTALL_TOOLS
@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed; none was found." >&2; exit 1; }
"$(PYTHON)" -m venv --clear $(1)
"$(PYTHON)" -c 'import configparser; file = configparser.ConfigParser(); file.read("setup.cfg"); \
	print(file["options.extras_require"]["$(2)"])' > $(1)/tools.txt
$(1)/bin/python -m pip install --quiet --disable-pip-version-check \
	--constraint constraints.txt --requirement $(1)/tools.txt
touch $@
endef

$(RELEASE)/installed: $(RECIPE)
	$(call INSTALL_TOOLS,$(RELEASE),release)

$(DOCS)/installed: $(RECIPE)
	$(call INSTALL_TOOLS,$(DOCS),docs)
