"""Conditioners: what a network is told beside games. KIND FOLDER: add one as a file here, named in a config by
`"type": "<file>.<Class>"`. The contract is `dualdiffusion.contracts.Conditioner`.

A conditioner tells a fact of tracks (`dualdiffusion/data/facts.py`), found by the dataset step `describe`; its
`control()` is what page and command line then offer (`dualdiffusion/controls.py`).
"""
