"""Diffusion itself: preconditioning, noise levels to train at, the loss.

loss.py             The denoising loss
preconditioning.py  The denoiser
sigma_sampling.py   At which noise levels to train
"""
