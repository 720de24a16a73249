"""The models that the page plays, and the process that one of them lives in.

choice.py      Which model new requests are for, and what each model may be asked for
contract.py    What the model's process needs of a model
curves.py      The curves of a training, read from its metrics.csv as it grows
drawing.py     Clips without pictures: the model's process draws them between its jobs
folders.py     The models that the page can play: folders below one root, and those that come with the program
requests.py    What the model of the page may be asked for
routes.py      Models over HTTP: which there are, what one is like, and which one plays
supervisor.py  The web side of the model's process: starts it, watches it, and again when it dies or is silent
worker.py      The model's own process: loads the model, makes one clip at a time, and says how it goes
"""
