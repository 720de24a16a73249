"""`python -m dualdiffusion latent-report`: is a VAE good enough for diffusion?

picture.py  The picture of a latent report
report.py   The latent gate
"""
