PYTHON ?= python3
VENV := .venv
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check install --quiet -c constraints.txt
INDEX := $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))

.PHONY: demo test soak evaluate page lint clean

demo: $(VENV)/.demo
	$(VENV)/bin/python -m cli demo $(if $(filter 1,$(ONCE)),--once) $(if $(IMAGES),--images "$(IMAGES)") $(if $(MODEL),--model "$(MODEL)")

# A process's threads of linear algebra spin while they wait for each other. Each process would compile the
# modules anew where the environment says not to keep them compiled.
test: $(VENV)/.dev
	OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(VENV)/bin/python -m pytest -n 3 --max-worker-restart 0 $(PYTEST_ARGS)

soak: $(VENV)/.dev
	PYTHONPATH=tests $(VENV)/bin/python -m soak $(SOAK_ARGS)

evaluate: $(VENV)/.dev
	$(VENV)/bin/python -m cli evaluate emoji --output build/evaluation $(EVALUATE_ARGS)

page: # as browsers load it: needs npm
	npm --prefix tests/http/page install --no-package-lock --no-audit --no-fund
	npm --prefix tests/http/page run build

lint: $(VENV)/.dev
	$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

clean:
	rm -rf $(VENV) .local

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] + ": make PYTHON=python3.12 …")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "Installing the packages (once) …"
	$(PIP) $(INDEX) -e '.[cli,local,torch]'
	@touch $@

$(VENV)/.dev: $(VENV)/.demo
	$(PIP) $(INDEX) -e '.[cli,local,torch,evaluation,quantisation,bench,ray,dev]'
	@touch $@
