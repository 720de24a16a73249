"""Training: the loop and its parts. `accelerate launch train.py CONFIG` is the command; `python -m train` has more.

averages/          Averages of the weights over the course of training
checkpoints/       What a run leaves to go on from
commands/          What `train.py` and `python -m train overfit | ema | preflight | sweep` do
data/              Training samples on their way to the network
denoiser/          What a denoiser's training is made of, beside its module trainer
losses/            Losses
memory/            How much memory a training step needs, and what to do where there is less
module_trainers/   Module trainers
optimization/      From gradients to changed weights
reports/           What a run tells about itself
startup/           What happens before the first update: processes, precision, and the model folder
interruption.py    Requests to stop: signals, a dead parent, and the file `save_now`
module_trainer.py  The contract between the training loop and the module trainers
position.py        How far a run has come, and the contract of what it does now and then beside updating
train_config.py    The config of a training run
trainer.py         The training loop. It knows no module
update.py          One update of a module's weights
"""
