"""The page: `python -m webui`. The web process never imports torch; the model has a process of its own.

desk/          Requests as the page shows them: every key as a control, presets, grids
dispatcher.py  Waiting jobs go to the model's process, one at a time, and how they end is written down
events.py      Live events: whatever happens is told to every open page through its socket
exchange/      Audio that comes in and clips that are taken home
history/       The queue and the history: jobs, their files, and what is done with them
http/          What holds for every request: bodies, refusals, who may talk to the server, files
learn/         New generators: from a folder of music to a model, on the page
models/        The models that the page plays, and the process that one of them lives in
running.py     Running the web server until a signal ends it; clients that say nothing are sent away
server.py      The page and its JSON API. Imports no torch
service.py     What the page can do, without HTTP: submit, cancel, retry, choose a model
settings.py    What the page's server is started with
"""
