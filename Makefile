# Two commands are enough: `make demo` and `make test`. Each makes the virtual environment first, once.

PYTHON ?= python3
BIN := .venv/bin
DONE := .venv/.installed
WORKERS ?= 2
MARK ?= slow or browser or not slow
export OMP_NUM_THREADS ?= 1

.PHONY: install demo test test-all fetch lint bench bench-peers site clean

install: $(DONE)

# torch comes first and alone, so that its own build (CPU or CUDA) decides what the rest fits to.
$(DONE): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet torch==2.13.0
	$(BIN)/pip install --quiet --editable '.[test]' --constraint constraints.txt
	touch $(DONE)

demo: $(DONE)  ## finds a circuit in a shipped model and writes demo-report/report.html
	$(BIN)/python -m interp.demo

test: $(DONE) lint  ## every quick test
	$(BIN)/pytest -n $(WORKERS) -m 'not slow and not browser' tests

test-all: $(DONE) fetch  ## everything: real models, slow tests, a real browser
	$(BIN)/pytest -n $(WORKERS) -m '$(MARK)' tests

fetch: $(DONE)  # without a network the tests of these models skip, and say how to get them
	-$(BIN)/interp fetch smollm2-135m
	-$(BIN)/interp fetch minilm-l6
	-$(BIN)/interp fetch dinov2-s

lint: $(DONE)
	$(BIN)/ruff check interp tests docs benchmarks circuits tutorials apps

bench: $(DONE)  ## cost and meaning, each as a ratio within one run
	$(BIN)/python -m benchmarks

bench-peers: $(DONE)  ## against TransformerLens and nnsight, each in an environment of its own
	$(BIN)/python -m benchmarks.peers

site: $(DONE)  ## the documentation as a folder of files, build/site/index.html; needs no network
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:
	rm -rf demo-report build *.egg-info .pytest_cache .ruff_cache .hypothesis
