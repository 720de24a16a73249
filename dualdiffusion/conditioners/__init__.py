"""Conditioners: what a network is told beside games. KIND FOLDER: add one as a file here, named in a config by
`"type": "<file>.<Class>"`. The contract is `dualdiffusion.contracts.Conditioner`.
"""
