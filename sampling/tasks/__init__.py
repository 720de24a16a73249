"""What a clip may be besides new and short: long, a loop, made from audio, between two others.

canvas.py         Where a clip lies
known_regions.py  Parts of a clip that are known: kept exactly, while everything else is made to fit
source.py         Audio files that clips start from, and what of them is kept
told.py           What a network is told of clips beside their games
variations.py     Clips between two others: between two seeds, and, along time, between two mixes of games
windows.py        Clips longer than the training window, and loops: overlapping windows in one joint sampling
"""
