# Two commands do everything: `make demo` and `make test`. All can be repeated at no cost.
PYTHON ?= python3.11
BIN := .venv/bin
# One thread of linear algebra per process: the jobs and tests themselves fill the cores.
export OMP_NUM_THREADS := 1
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help install demo test test-all lint bench bench-lasso clean

help:
	@echo "make demo     install, make the simulated cohort, run the main study, print its table"
	@echo "make test     install, run the tests"
	@echo "make install  make .venv with the exact versions of envs/requirements.txt"
	@echo "make lint     formatting, lint, types, spelling, workflow lint"
	@echo "make bench    seconds and peak memory per block and subject of the last run"
	@echo "make bench-lasso  the LASSO-Cox path beside glmnet's (R with r-cran-glmnet)"
	@echo "make test-all also the slow tests"

install: .venv/.installed

.venv/.installed: envs/requirements.txt pyproject.toml scripts/install.sh
	PYTHON=$(PYTHON) scripts/install.sh
	@touch $@

demo/nact/images.tsv: | .venv/.installed
	medpipe demo nact --out demo/nact

demo: install demo/nact/images.tsv
	snakemake --cores all results/nact_auc.tsv
	@medpipe show results/nact_auc.tsv
	@echo "report: results/nact/report.html"

# Two workers, a file to one of them: fixtures that run a whole study are made once. The whole
# studies come first, for they take longest.
test: install
	pytest tests/workflow tests/unit -m "not slow and not gpu" -n 2 --dist loadfile

test-all: install
	pytest

lint: install
	ruff format --check .
	ruff check .
	mypy
	snakefmt --check Snakefile workflow
	codespell
	snakemake --lint

bench: install
	medpipe bench results/nact

bench-lasso: install
	python scripts/bench_lasso.py

clean:
	rm -rf results logs benchmarks .snakemake .medpipe.lock
