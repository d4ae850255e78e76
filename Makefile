# make book · make test · make serve · make pdf · make single · make student · make instructor · make colab · make notebooks · make times · make report · make lint · make mutants · make flake · make stamp
# What each does stands in tasks.py, for systems without make.
PYTHON ?= python3
TASKS := book test serve pdf single student instructor colab notebooks times report lint mutants flake stamp
.DEFAULT_GOAL := book
.PHONY: $(TASKS) clean

$(TASKS):
	@$(PYTHON) tasks.py $@

clean:
	rm -rf _build .venv
