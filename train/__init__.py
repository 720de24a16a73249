"""Training: the loop and its parts. `accelerate launch train.py CONFIG` is the command; `python -m train` has more.

averages/             Averages of the weights over the course of training
checkpoints/          What a run leaves to go on from
commands/             What `train.py` and `python -m train overfit | ema | preflight | sweep` do
denoiser/             What a denoiser's training is made of, beside its module trainer
losses/               Losses
memory/               How much memory a training step needs, and what to do where there is less
module_trainers/      Module trainers
reports/              What a run tells about itself
autoencoder.py        Format and autoencoder of a model that has no VAE to train
channels.py           Numbers of channels that a config leaves open: the format and the autoencoder say them
interruption.py       Requests to stop: signals, a dead parent, and the file `save_now`
launch.py             Starts a training run in the process, or one of the processes, that `accelerate launch` made
launcher_settings.py  What is asked for and not done
loader.py             Reads the samples of each process, in order, from any point of the training on
module_trainer.py     The contract between the training loop and the module trainers
muon.py               Muon: steps of equal size along all directions of a weight matrix
optimizer.py          The optimizer and its learning rate over the course of training, both chosen by name
optimizer_parts.py    Several optimizers as one, each for a part of a module's parameters
position.py           How far a run has come, and the contract of what it does now and then beside updating
precision.py          What `mixed_precision: "auto"` means for a run: decided once, where it begins
recovery.py           What a run leaves to go on from: checkpoints, going back to one, and the published weights
setup.py              What the first training command creates in a model folder, and what later ones check
starting.py           Starting a new model from another one's weights: `init` in a training config
train_config.py       The config of a training run
trainer.py            The training loop. It knows no module
transforming.py       Training samples as transforms change them
update.py             One update of a module's weights
"""
