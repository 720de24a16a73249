# Everything works from a fresh clone: `make demo` and `make test` set up what they need.

PORT ?= 7860
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
MODEL := models/demo
CONFIGS := $(shell find config -name '*.json')

.PHONY: setup demo demo-model test lint clean-demo

setup: $(VENV)/.ready

# Behind a lock and a stamp: killed at any moment, it starts over; two at a time take turns.
$(VENV)/.ready: requirements.txt tests/requirements.txt .ci/setup_venv.py
	$(PYTHON) .ci/setup_venv.py $(VENV) requirements.txt tests/requirements.txt

demo: demo-model
	$(BIN)/python -m webui --model $(MODEL) --port $(PORT)

demo-model: $(MODEL)/.ready

# Each command finds what it did before and goes on from there; --wait lets a command that outlived a killed `make`
# finish first.
$(MODEL)/.ready: $(VENV)/.ready $(CONFIGS)
	$(BIN)/python -m dataset_processing synth datasets/synth --wait
	$(BIN)/python -m dataset_processing run config/dataset/demo.json --steps scan,convert,filter,split --wait
	$(BIN)/accelerate launch train.py config/train/vae_tiny.json --wait
	$(BIN)/python -m dataset_processing run config/dataset/demo.json --wait
	$(BIN)/accelerate launch train.py config/train/unet_tiny.json --wait
	$(BIN)/python -m sampling --model $(MODEL) --each-game --seconds 10 --out outputs
	touch $@

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

test: lint
	$(BIN)/python -m pytest -n 2

clean-demo:
	rm -rf datasets/synth datasets/demo $(MODEL)
