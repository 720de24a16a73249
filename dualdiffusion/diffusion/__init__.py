"""Diffusion itself: preconditioning, noise levels to train at, the loss.

levels.py           Discrete noise levels
loss.py             The denoising loss
preconditioning.py  The denoiser
predictors.py       What a network is asked for, as four numbers for each noise level
sigma_sampling.py   At which noise levels to train
"""
