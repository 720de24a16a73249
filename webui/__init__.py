"""The page: `python -m webui`. The web process never imports torch; the model has a process of its own.

bodies.py           What requests carry: JSON of a limited size that arrives within a limited time
clip_settings.py    What a clip tells of how it was made, read without torch
downloads.py        Taking clips home: in any format, at any loudness, with loop points, and many at once as a zip
ends.py             How jobs ended, until the history has it: an end that cannot be written is written again until it is
events.py           Live events: whatever happens is told to every open page through its socket
grids.py            Many clips from one request, and the sheet that shows them side by side
helper.py           Short-lived processes for audio that is not trusted
history.py          What can be done with the history, without HTTP: names, notes, stars, the bin, clips made elsewhere
history_file.py     The history's SQLite file: opened, brought to the present schema, and mended where it is damaged
history_routes.py   The history over HTTP: lists and searches, what is done with many at once, the bin
history_search.py   What the history is searched by: words and games of each job, and the conditions on them
ids.py              Ids in addresses
incoming.py         Audio that a visitor brings in, decoded in a process of its own
job.py              One job of the queue and the history, and a clip that comes from elsewhere
job_view.py         A job as the API shows it
jobs.py             The queue and the history
learn/              New generators: from a folder of music to a model, on the page
media_types.py      What browsers are told that a file is
methods.py          What holds for every address: HEAD beside GET, OPTIONS, and errors as refusals in JSON
model_choice.py     Which model new requests are for, and what each model may be asked for
model_contract.py   What the model's process needs of a model
model_requests.py   What the model of the page may be asked for
model_routes.py     Models over HTTP: which there are, what one is like, and which one plays
models.py           The models that the page can play: folders below one root, and those that come with the program
outgoing.py         Clips as files to take home, written in a process of its own
outputs.py          The outputs folder as the page sees it: audio, pictures and peaks beside it, and the bin
presets.py          Settings under a name, kept on the server: shipped ones, and those that visitors save
refusal.py          A request that the server declines: an HTTP status, a sentence, and the field that it is about
request_schema.py   Every key of a request as a page can draw it: kind, range, default, and what it does
running.py          Running the web server until a signal ends it; clients that say nothing are sent away
security.py         Who may talk to the server: this machine's own pages and scripts, and holders of the token
sending.py          Files over HTTP, which browsers need not read again where they have them
server.py           The page and its JSON API. Imports no torch
service.py          What the page can do, without HTTP: submit, cancel, retry, choose a model; one job runs at a time
settings.py         What the page's server is started with
shipped_presets.py  The presets that come with the program
sources.py          Audio that clips start from: clips of the history, and what visitors brought in
stored.py           Stored values that may be nonsense: each is taken by itself, and what cannot be used is left out
supervisor.py       The web side of the model's process: starts it, watches it, and again when it dies or is silent
uploads.py          Audio that visitors bring in: a clip of ours to restore its settings, or any audio to start from
worker.py           The model's own process: loads the model, makes one clip at a time, and says how it goes
"""
