"""What holds for every request: bodies, refusals, who may talk to the server, files.

bodies.py       What requests carry: JSON of a limited size that arrives within a limited time
ids.py          Ids in addresses
media_types.py  What browsers are told that a file is
methods.py      What holds for every address: HEAD beside GET, OPTIONS, and errors as refusals in JSON
openapi.py      The API as an OpenAPI document: every route, what it takes, and an example that it accepts
refusal.py      A request that the server declines: an HTTP status, a sentence, and the field that it is about
security.py     Who may talk to the server: this machine's own pages and scripts, and holders of the token
sending.py      Files over HTTP, which browsers need not read again where they have them
"""
