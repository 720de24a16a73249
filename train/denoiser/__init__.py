"""What a denoiser's training is made of, beside its module trainer.

demos.py          Demos of a denoiser in training
latent_source.py  Where the latents that a UNet is trained on come from
loss_by_level.py  What a denoiser's training logs of each range of noise levels
noise_levels.py   The noise levels that a denoiser is trained at, and those of its validation
setup.py          The denoiser that a UNet trainer's config means, and what its training would do
telling.py        What a network is told, as far as it hangs on the dataset
"""
