# Two commands on a machine that has Python, make and a C library:
#   make demo   install and run the main job on an embedded clip
#   make test   install and run everything that CI runs
PYTHON ?= python3
PY := .venv/bin/python

.PHONY: demo test lint install clean
demo: .venv/.installed
	.venv/bin/asterism demo

test: lint
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(PY) -m pytest -n 2 --dist loadfile

lint: .venv/.installed
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/basedpyright
	.venv/bin/lint-imports

install: .venv/.installed
.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt torch==2.13.0
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[test]"
	touch $@

clean:
	rm -rf .venv build dist src/*.egg-info
