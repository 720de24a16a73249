"""Transforms: changes of training samples, drawn anew each time. KIND FOLDER: add one as a file here, named in a
config by `"type": "<file>.<Class>"`.

A transform is a module that takes a dict of tensors and gives one, and leaves alone what it does not know. Whatever is
random in it comes in the dict, so that it has no state, repeats itself, and compiles. Keys: `data`, audio (B, C, N),
and `random`, (B, n) numbers in [0, 1), of which it uses the first `numbers` and passes on the others.
"""
