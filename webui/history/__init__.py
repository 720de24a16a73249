"""The queue and the history: jobs, their files, and what is done with them.

actions.py        What can be done with the history, without HTTP: names, notes, stars, the bin, clips made elsewhere
clip_settings.py  What a clip tells of how it was made, read without torch
database.py       The history's SQLite file: opened, brought to the present schema, and mended where it is damaged
ends.py           How jobs ended, until the history has it: an end that cannot be written is written again until it is
job.py            One job of the queue and the history, and a clip that comes from elsewhere
job_view.py       A job as the API shows it
jobs.py           The queue and the history
outputs.py        The outputs folder as the page sees it: audio, pictures and peaks beside it, and the bin
routes.py         The history over HTTP: lists and searches, what is done with many at once, the bin
search.py         What the history is searched by: words and games of each job, and the conditions on them
stored.py         Stored values that may be nonsense: each is taken by itself, and what cannot be used is left out
"""
