# Two commands do everything: `make demo` and `make test`. All can be repeated at no cost.
PYTHON ?= python3.11
BIN := .venv/bin
# One thread of linear algebra per process: the jobs and tests themselves fill the cores.
export OMP_NUM_THREADS := 1
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help install demo test test-all lint bench bench-lasso bench-registration bench-texture \
	bench-radiomics bench-maps ibsi-table clean

help:
	@echo "make demo     install, make the simulated cohort, run the main study, print its table"
	@echo "make test     install, run the tests"
	@echo "make install  make .venv with the exact versions of envs/requirements.txt"
	@echo "make lint     formatting, lint, types, spelling, workflow lint"
	@echo "make bench    seconds and peak memory per block and subject of the last run"
	@echo "make bench-lasso  the LASSO-Cox path beside glmnet's (R with r-cran-glmnet)"
	@echo "make bench-registration  engines side by side on lesions of known change and real pairs"
	@echo "make bench-texture    107 features of one region beside PyRadiomics and Nyxus"
	@echo "make bench-radiomics  a cohort beside PyRadiomics' batch command; memory of a whole CT"
	@echo "make bench-maps       voxel-wise maps beside PyRadiomics' voxel mode"
	@echo "make ibsi-table       agreement with the reference values of IBSI, by family"
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
	pytest tests/workflow tests/unit -m "not slow and not gpu" -n 2 --dist loadfile --no-loadscope-reorder

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

# The competing engines live in an environment of their own. BENCH="--quick" is the short run;
# `python -m scripts.registration_bench --help` lists what can be chosen.
bench-registration: install .venv-bench/.installed
	python -m scripts.registration_bench $(BENCH)

bench-texture: install .venv-bench/.installed
	python scripts/bench_texture.py

bench-radiomics: install
	python scripts/bench_radiomics.py cohort $(BENCH)
	python scripts/bench_radiomics.py memory

bench-maps: install
	python scripts/bench_maps.py $(BENCH)

ibsi-table: install
	python scripts/ibsi_table.py

.venv-bench/.installed: pyproject.toml
	$(PYTHON) -m venv .venv-bench
	$(PYTHON) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["bench"], sep="\n")' > .venv-bench/packages.txt
	.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check -r .venv-bench/packages.txt
	@touch $@

clean:
	rm -rf results logs benchmarks .snakemake .medpipe.lock
