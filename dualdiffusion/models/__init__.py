"""Backbones and autoencoders. KIND FOLDER: add one as a file here, named in a config by `"type": "<file>.<Class>"`."""
