"""Formats: what audio looks like to a network. KIND FOLDER: add one as a file here, named in a config by
`"type": "<file>.<Class>"`. The contract is `dualdiffusion.contracts.Format`.
"""
