"""Averages of the weights over the course of training.

ema.py       Power-function exponential moving averages of the weights (Karras et al. 2023, section 3)
post_hoc.py  EMAs of any length after training, from stored snapshots of a few (Karras et al. 2023, section 3.2)
tracked.py   The averages of the weights that a run follows
"""
