"""How much memory a training step needs, and what to do where there is less.

auto_batch.py  What a device's memory has room for
preflight.py   How much memory a training step and a validation need, found without any
"""
