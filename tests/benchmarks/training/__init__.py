"""`python -m tests.benchmarks.training`: our UNet against diffusers' UNet2DModel of equal parameter count.

networks.py    The two networks
step.py        Speed and memory of one update
equal_time.py  What both have learned after equal times
"""
