"""Samplers and noise schedules: how noisy latents are carried down the noise levels.

They know no guidance and no model. A sampler is a function `sample_x` in a file `sample_<family>.py`, which samplers.py
finds by listing: add one as a file here. Beside them lie what they share: maths.py, the formulas of the papers;
noise.py, where noise comes from; renoising.py, steps that go back up; options.py, a sampler's own options as a strict
config; and the noise schedules, schedules.py.
"""
