"""What `train.py` and `python -m train overfit | ema | preflight | sweep` do.

dry_run.py   `--dry-run`: what a run would do and need, without reading data or allocating memory
ema.py       `python -m train ema`: writes an EMA of another length into a model folder
overfit.py   Overfits one batch: the first thing to try when something is off
preflight.py  `python -m train preflight`: do these runs fit the memory of this machine? As JSON
sweep.py     `python -m train sweep`: trains a config once for each combination of some settings, and compares
training.py  The training command
"""
