"""From gradients to changed weights.

gradient_noise.py  Noise added to the gradients, ever less of it
muon.py            Muon: steps of equal size along all directions of a weight matrix
optimizer.py       The optimizer of a module, chosen by name, and how parts of the module are trained otherwise
parts.py           Several optimizers as one, each for a part of a module's parameters
schedule.py        The learning rate over the course of training, by name
state.py           What an optimizer remembers, as checkpoints have it: independent of how its parameters are grouped
"""
