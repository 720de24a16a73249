"""Requests as the page shows them: every key as a control, presets, grids.

grids.py            Many clips from one request, and the sheet that shows them side by side
presets.py          Settings under a name, kept on the server: shipped ones, and those that visitors save
request_schema.py   Every key of a request as a page can draw it: kind, range, default, and what it does
shipped_presets.py  The presets that come with the program
"""
