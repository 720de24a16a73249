"""Samplers and noise schedules: how noisy latents are carried down the noise levels.

They know no guidance and no model.

dpm_solver.py  DPM-Solver as a method that chooses its own noise levels
maths.py       What samplers share: what they show, what their options may be, and the formulas of the papers
noise.py       Where samplers take their noise from
options.py     A sampler's own options as a strict config
renoising.py   Going back up: the steps that samplers take, with noise re-injection and restarts
samplers.py    Samplers
schedules.py   Noise schedules
"""
