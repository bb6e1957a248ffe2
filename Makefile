# Each target does its own set-up. Needed: Python 3.11 or newer, git, make, a network
# connection for the first run. The environment lives in .venv; remove it with
# `make distclean`. Choose another interpreter with `make test PYTHON=python3.12`.

VENV := .venv
BIN := $(VENV)/bin
PYTHONS := python3.13 python3.12 python3.11 python3 python3.14 python
DEMO := build/demo
TORCH := torch==2.13.0

.DEFAULT_GOAL := help
.PHONY: help demo test test-torch campaign mutants lint format docs peers clean distclean
.NOTPARALLEL:
.SECONDARY:

help:
	@echo "make demo    audit the breast-cancer data; results in $(DEMO)/audit"
	@echo "make test    run the tests on all cores (narrow them with PYTEST_ARGS='-k newton')"
	@echo "make test-torch  run the tests of arrays with PyTorch on the CPU"
	@echo "make campaign    the long proofs: properties, certificates, fuzzing (an hour)"
	@echo "make mutants     mutation testing of the mathematics (about an hour)"
	@echo "make lint    ruff, import-linter and mypy"
	@echo "make format  let ruff mend what it can"
	@echo "make docs    build the documentation into build/docs"
	@echo "make peers   compare with other programs (an environment of its own; minutes)"
	@echo "make clean   remove build products; make distclean removes $(VENV) too"

demo: $(VENV)/.installed-cli
	$(BIN)/python examples/write_demo_data.py $(DEMO)/breast_cancer.csv
	$(BIN)/skinfluence audit $(DEMO)/breast_cancer.csv --target diagnosis \
		--check 50 --out $(DEMO)/audit
	@echo "The results are in $(DEMO)/audit:"
	@ls $(DEMO)/audit

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n auto $(PYTEST_ARGS)

test-torch: $(VENV)/.installed-torch-cpu
	$(BIN)/python -m pytest tests/test_backends.py tests/test_explainer_arrays.py

# One after another, even where one fails; the target fails if any did.
CAMPAIGN := $(BIN)/python -m pytest -q -p no:cacheprovider tests/properties
campaign: $(VENV)/.installed-test
	@failed=; \
	PROPERTIES=$(or $(PROPERTIES),1000) $(CAMPAIGN) || failed="$$failed properties"; \
	for name in certificates fuzz; do \
		$(BIN)/python tests/campaigns/$$name.py || failed="$$failed $$name"; \
	done; \
	if [ -n "$$failed" ]; then echo "Failed:$$failed" >&2; exit 1; fi

mutants: $(VENV)/.installed-mutants
	$(BIN)/python tests/campaigns/mutants.py $(MUTANTS_ARGS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.installed-docs
	$(BIN)/sphinx-build -W --keep-going -b html docs build/docs

peers: $(VENV)/.created
	$(BIN)/python benchmarks/peers.py

clean:
	rm -rf build dist docs/auto_examples docs/generated *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache

distclean: clean
	rm -rf $(VENV)

# One stamp per extra; all share the environment.
$(VENV)/.installed-%: setup.cfg pyproject.toml | $(VENV)/.created
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[$*]'
	@touch $@

# A build for the CPU, not gigabytes of CUDA: where the default index has none, set
# TORCH_WHEELS to the address of an index with such wheels.
$(VENV)/.installed-torch-cpu: $(VENV)/.installed-test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		$(if $(TORCH_WHEELS),--extra-index-url $(TORCH_WHEELS)) $(TORCH)
	@touch $@

# The first candidate that runs, is new enough and can make an environment with pip.
$(VENV)/.created:
	@found=; \
	for python in $(or $(PYTHON),$(PYTHONS)); do \
		if $$python -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' \
			>/dev/null 2>&1; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
		echo "No Python 3.11 or newer with venv and ensurepip among:" \
			"$(or $(PYTHON),$(PYTHONS))." >&2; \
		echo "Install one (on Debian and Ubuntu also the package python3-venv), or name" \
			"it: make PYTHON=/path/to/python3" >&2; \
		exit 1; \
	fi; \
	echo "Making $(VENV) with $$($$found --version) ($$found)"; \
	$$found -m venv --clear $(VENV)
	@touch $@
