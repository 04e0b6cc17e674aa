# make demo    set up, then train a small Mask R-CNN on TiedResNet and measure it under occlusion (CPU, some 10 minutes)
# make test    set up, then run the tests
# make test-all   the same, with the slow ones
# make test-stock   a short suite on the stock line of OpenMMLab, in an environment of its own
# make bench   set up, then measure the speed of layers, backbones and detectors, and write docs/speed.md
# make configs   set up, then write the COCO configs and their metafile again, from the tables in tools/make_configs.py
# make lint    set up, then check style and format
# make setup   set up only, with what running needs
# make dev     set up only, with what tests, style checks and exports need, too
# make clean   remove the environments .venv and .venv-stock and caches; work_dirs and build/wheels stay
# make help    print this
#
# Each sets up what it needs and finds what is there: the first one takes minutes, with a line every 20 seconds, and a
# later one adds only what is lacking.
#
# PYTHON=python3.12   interpreter to make the environment with
# VENV=.venv          environment to make, or an existing one to use
# STOCK_VENV=.venv-stock   the same for the stock line
# WHEELS=dir          folder of wheels to use before the package index, e.g. a compiled mmcv
# BENCH='--minutes 5'   options of each of the four measurements (benchmarks/speed.py layers --help)
# DEVICE=auto         what mmcv is compiled for: auto, cpu or cuda

PYTHON ?= python3
VENV ?= .venv
WHEELS ?=
DEVICE ?= auto
RUN := $(VENV)/bin/python
STOCK_VENV ?= .venv-stock
# What the line can break: importing, building, the metric and the hooks, and to train, save, resume and test.
TOOLS := tests/tools/test_train_and_test.py
STOCK_TESTS ?= tests/stock tests/test_registry.py tests/test_zoo.py::test_parameters_and_channels tests/checkpoints \
	tests/engine tests/evaluation $(TOOLS)::test_training_writes_a_checkpoint_that_holds_only_data \
	$(TOOLS)::test_testing_adds_the_strata_and_writes_coco_results \
	$(TOOLS)::test_resume_goes_on_from_the_checkpoint $(TOOLS)::test_a_checkpoint_that_would_run_code_is_not_read

SETUP := $(PYTHON) tools/setup_env.py --wheels "$(WHEELS)" --device $(DEVICE)

.PHONY: demo test test-all test-stock bench configs lint setup dev clean help
setup:
	@$(SETUP) --venv "$(VENV)"

dev:
	@$(SETUP) --venv "$(VENV)" --dev

demo: setup
	@$(RUN) tools/demo.py

# A file's tests stay in one process, with what they share; each process has one thread, and 1 to 2 GB.
PYTEST := OMP_NUM_THREADS=1 $(RUN) -m pytest --numprocesses auto --maxprocesses 8 --dist loadfile

test: dev
	@$(PYTEST) $(TESTS)

test-all: dev
	@$(PYTEST) -m "" $(TESTS)

test-stock:
	@$(SETUP) --line stock --venv "$(STOCK_VENV)" --dev
	@$(STOCK_VENV)/bin/python -m pytest $(STOCK_TESTS)

bench: setup
	@$(RUN) benchmarks/speed.py layers $(BENCH)
	@$(RUN) benchmarks/speed.py backbones $(BENCH)
	@$(RUN) benchmarks/speed.py detectors $(BENCH)
	@$(RUN) benchmarks/speed.py latency $(BENCH)
	@$(RUN) benchmarks/speed.py render

configs: setup
	@$(RUN) tools/make_configs.py

lint: dev
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .

clean:
	@rm -rf .venv .venv-stock .pytest_cache .ruff_cache .hypothesis *.egg-info
	@find mmhybrid tests tools benchmarks -name __pycache__ -prune -exec rm -rf {} +

help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile
