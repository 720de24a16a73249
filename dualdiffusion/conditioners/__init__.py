"""Conditioners: what a network is told beside games. KIND FOLDER: add one as a file here, named in a config by
`"type": "<file>.<Class>"`. The contract is `dualdiffusion.contracts.Conditioner`.

beats.py    The beat along time
curves.py   Curves: what moves along time, such as loudness and brightness
mixes.py    Mixes: names with weights, such as composers, chips or keys
numbers.py  Numbers: a place in the track, its length, its tempo, its year
regions.py  Regions: which columns of the latents are known, and what they are
"""
