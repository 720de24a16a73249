"""Trains one module of a model: `accelerate launch train.py config/train/vae_tiny.json [--set key=value]`.

The first run creates in the model folder what is missing; the same command line again goes on where it stopped.
"""

from __future__ import annotations

from dualdiffusion.command_line import run_command
from train.commands.training import main

if __name__ == "__main__":
    run_command(main)
