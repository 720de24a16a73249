"""What happens before the first update: processes, precision, and the model folder.

autoencoder.py        Format and autoencoder of a model that has no VAE to train
channels.py           Numbers of channels that a config leaves open: the format and the autoencoder say them
initial_weights.py    Starting a new model from another one's weights: `init` in a training config
launch.py             Starts a training run in the process, or one of the processes, that `accelerate launch` made
launcher_settings.py  What is asked for and not done
precision.py          What `mixed_precision: "auto"` means for a run: decided once, where it begins
setup.py              What the first training command creates in a model folder, and what later ones check
"""
