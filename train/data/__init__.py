"""Training samples on their way to the network.

loader.py        Reads the samples of each process, in order, from any point of the training on
transforming.py  Training samples as transforms change them
"""
