"""The library of Dual Diffusion; imports none of the programs beside it."""

__version__ = "0.1.0"
