# make demo    set up, then train a small Mask R-CNN on TiedResNet and measure it under occlusion (CPU, some 10 minutes)
# make test    set up, then run the tests
# make lint    set up, then check style and format
# make setup   set up only
#
# PYTHON=python3.12   interpreter to make the environment with
# VENV=.venv          environment to make, or an existing one to use
# WHEELS=dir          folder of wheels to use before the package index, e.g. a compiled mmcv
# DEVICE=auto         what mmcv is compiled for: auto, cpu or cuda

PYTHON ?= python3
VENV ?= .venv
WHEELS ?=
DEVICE ?= auto
RUN := $(VENV)/bin/python

.PHONY: demo test lint setup
setup:
	@$(PYTHON) tools/setup_env.py --venv "$(VENV)" --wheels "$(WHEELS)" --device $(DEVICE)

demo: setup
	@$(RUN) tools/demo.py

test: setup
	@$(RUN) -m pytest $(TESTS)

lint: setup
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
