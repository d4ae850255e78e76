# make book · make test · make serve · make notebooks · make times · make report · make lint · make mutants · make flake · make stamp
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready
.DEFAULT_GOAL := book
.PHONY: book test serve notebooks times report lint mutants flake stamp clean

# Everything runs in .venv, with the exact pins of requirements.txt.
$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; this is $$($(PYTHON) -V). Try: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

book: $(READY)
	$(BIN)/jupyter-book build . -W -n --keep-going --quiet
	@echo "The book is ready. Open file://$(CURDIR)/_build/html/index.html, or run: make serve"

serve: book
	$(BIN)/python -m http.server --directory _build/html --bind 127.0.0.1 8000

# Unit tests, then every notebook alone and offline under strict nbval, then the site.
test: book
	$(BIN)/python scripts/chromium.py
	$(BIN)/python -m pytest

# Runs every chapter from top to bottom in a clean kernel and stores what it prints.
notebooks: $(READY)
	$(BIN)/jupyter nbconvert --to notebook --execute --inplace \
	  --ExecutePreprocessor.record_timing=False notebooks/*.ipynb
	$(BIN)/ruff format --quiet notebooks

# How long each chapter runs, for the table in how_to_use. On a machine that does nothing else.
times: $(READY)
	$(BIN)/python scripts/times.py

# Strict nbval, three times each with one and with two threads: is any output unstable?
flake: $(READY)
	for threads in 1 2; do for turn in 1 2 3; do \
	  OMP_NUM_THREADS=$$threads $(BIN)/python -m pytest --nbval notebooks || exit 1; \
	done; done

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell README.md CHANGELOG.md CONTRIBUTING.md vitbook tests scripts book/*.md notebooks/*.ipynb

# Do the tests find planted faults? Takes an hour; make mutants MUTANTS="--changed main" looks at
# changed lines only, MUTANTS="--seed 1" at another sample.
mutants: $(READY)
	$(BIN)/python scripts/mutants.py $(MUTANTS)

# The report of the recorded CIFAR-10 run on the site; needs CIFAR-10.
report: $(READY)
	$(BIN)/python -m vitbook report cifar10-cpu/seed0 --weights cifar10 --no-pictures \
	  --out book/_static/report-cifar10-cpu.html

# After a change of repository.url in _config.yml, or of the package's line numbers.
stamp: $(READY)
	$(BIN)/python scripts/stamp.py

clean:
	rm -rf _build .venv
