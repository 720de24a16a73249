"""How much memory a training step needs, and what to do where there is less.

auto_batch.py       What a device's memory has room for
meta_operations.py  Operations on the meta device, worked out once
preflight.py        How much memory a training step and a validation need, found without any
"""
