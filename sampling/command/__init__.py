"""What `python -m sampling` does with its options.

batch.py             Making clips one after the other
grid.py              Many requests from one: all combinations of some values, and of seeds
likelihood.py        `python -m sampling likelihood MODEL DATASET`
options.py           The command line of `python -m sampling`
plot_schedule.py     `--plot-schedule`: a picture of the noise levels that a request would go through
recommend.py         `python -m sampling recommend MODEL`
reference.py         `python -m sampling reference`
repeat.py            `--from`
schedule_picture.py  A picture of noise schedules: the noise level at each step, and where the model errs
"""
