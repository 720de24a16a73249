"""The page: `python -m webui`. The web process never imports torch; the model has a process of its own.

events.py          Live events: whatever happens is told to every open page through its socket
learn/            New generators: from a folder of music to a model, on the page
jobs.py            The queue and the history
media_types.py     What browsers are told that a file is
methods.py         What holds for every address: HEAD beside GET, OPTIONS, and errors as refusals in JSON
model_requests.py  What the model of the page may be asked for
outputs.py         The outputs folder as the page sees it: audio, pictures and peaks beside it, and the bin
refusal.py         A request that the server declines: an HTTP status, a sentence, and the field that it is about
running.py         Running the web server until a signal ends it
security.py        Who may talk to the server: this machine's own pages and scripts, and holders of the token
server.py          The page and its JSON API. Imports no torch
service.py         What the page can do, without HTTP: submit, cancel, retry, delete, undo; one job runs at a time
settings.py        What the page's server is started with
stored.py          Stored values that may be nonsense: each is taken by itself, and what cannot be used is left out
supervisor.py      The web side of the model's process: starts it, watches it, and starts it again when it dies
worker.py          The model's own process: loads the model, makes one clip at a time, and says how it goes
"""
