"""Module trainers: how one module is trained. KIND FOLDER: add one as a file here, named in a config by
`"type": "<file>.<Class>"`. The contract is `train.module_trainer.ModuleTrainer`.
"""
