"""Layers and blocks that networks are made of.

blocks.py                What the edm2-style UNet and VAE are built of
blocks_1d.py             What U-Nets in one dimension are built of
magnitude_preserving.py  Magnitude-preserving layers
neighbourhood.py         Neighbourhood attention: every position sees a window around it, in plain attention kernels
recomputation.py         Operations, and whole blocks, whose backward pass keeps little and computes the rest again
rotary.py                Rotary position embedding: attention that knows how far apart two positions are
told.py                  How networks take in what they are told
transformer.py           What transformers are built of
"""
