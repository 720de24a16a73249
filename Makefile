# Everything works from a fresh clone: `make demo` and `make test` set up what they need.

PORT ?= 7860
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
SETUP := $(PYTHON) .ci/setup_venv.py
# What `make demo` plays: the model that comes with the program, or a folder; models/demo is trained first.
MODEL ?= chiptune
# A folder of music of which the page may make new generators.
MUSIC ?=
DEMO := models/demo
CONFIGS := $(shell find config -name '*.json')

.PHONY: setup demo demo-model chiptune test test-all lint clean-demo

# Without an NVIDIA driver, GPU=1 installs what torch needs on a GPU all the same.
setup:
	$(SETUP) $(if $(GPU),--whole) $(VENV) requirements.txt

# Behind a lock and a stamp: killed at any moment, it starts over; two at a time take turns.
$(VENV)/.ready: requirements.txt .ci/setup_venv.py
	$(SETUP) $(if $(GPU),--whole) $(VENV) requirements.txt

$(VENV)/.ready-more: requirements.txt tests/requirements.txt .ci/setup_venv.py
	$(SETUP) $(if $(GPU),--whole) $(VENV) requirements.txt tests/requirements.txt

demo: $(VENV)/.ready $(if $(filter $(DEMO),$(MODEL)),demo-model)
	$(BIN)/python -m webui --model $(MODEL) --port $(PORT)$(if $(MUSIC), --music "$(MUSIC)")

# The whole way from audio to a tiny model.
demo-model: $(DEMO)/.ready

# What was begun when the tiny network had 32, 64 and 96 channels goes on, and plays, with those.
OLDER := $(shell grep -ls '"model_channels": 32,' $(DEMO)/unet/unet.json)
UNET_DEMO := $(or $(if $(OLDER),$(wildcard $(DEMO)/runs/unet/config.json)),config/train/unet_demo.json)

# Each command finds what it did before and goes on from there; --wait lets a command that outlived a killed `make`
# finish first.
$(DEMO)/.ready: $(VENV)/.ready $(CONFIGS)
	$(BIN)/python -m dataset_processing synth datasets/synth --wait
	$(BIN)/python -m dataset_processing run config/dataset/demo.json --steps scan,convert,filter,split --wait
	$(BIN)/accelerate launch train.py config/train/vae_demo.json --wait
	$(BIN)/python -m dataset_processing run config/dataset/demo.json --wait
	$(BIN)/accelerate launch train.py $(UNET_DEMO) --wait
	$(BIN)/python -m sampling --model $(DEMO) --each-game --seconds 10 --out outputs
	touch $@

# Makes the model again that comes with the program: hours on two cores, the longest part of it training. It may be
# interrupted anywhere, too.
CHIPTUNE := models/chiptune
CHIPTUNE_CORPUS ?= --games 8 --tracks 24 --seconds 60
CHIPTUNE_OUT ?= dualdiffusion/pretrained/chiptune
HARDWARE ?= $(shell nproc) CPU cores

chiptune: $(CHIPTUNE)/.ready

$(CHIPTUNE)/.ready: $(VENV)/.ready $(CONFIGS)
	$(BIN)/python -m dataset_processing synth datasets/chiptune-synth $(CHIPTUNE_CORPUS) --wait
	$(BIN)/python -m dataset_processing run config/dataset/chiptune.json --steps scan,convert,filter,split --wait
	$(BIN)/accelerate launch train.py config/train/vae_chiptune.json --wait
	$(BIN)/accelerate launch train.py config/train/vae_chiptune_decoder.json --wait
	$(BIN)/python -m dataset_processing run config/dataset/chiptune.json --wait
	$(BIN)/accelerate launch train.py config/train/unet_chiptune.json --wait \
	    --set model=$(CHIPTUNE)-unet module_trainer.autoencoder=$(CHIPTUNE)
	$(BIN)/accelerate launch train.py config/train/unet_chiptune_further.json --wait
	$(BIN)/python -m tests.benchmarks.music --model $(CHIPTUNE) --json $(CHIPTUNE)/measures.json
	$(BIN)/python -m dualdiffusion export $(CHIPTUNE) $(CHIPTUNE_OUT) --command "make chiptune" --hardware "$(HARDWARE)" \
	    --data "the built-in corpus: python -m dataset_processing synth datasets/chiptune-synth $(CHIPTUNE_CORPUS)" \
	    --licence "CC0 1.0, dedicated to the public domain" --measures $(CHIPTUNE)/measures.json
	touch $@

lint: $(VENV)/.ready-more
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# Two at a time on two cores: three took longer. A file stays with one of them: some tests go on from those before.
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile

# All but kills, benchmarks and what takes seconds a test, which `make test-all` and CI run too.
test: lint
	$(PYTEST) -m "not slow and not kills and not benchmarks"

test-all: lint
	$(PYTEST)

clean-demo:
	rm -rf datasets/synth datasets/demo $(DEMO)
