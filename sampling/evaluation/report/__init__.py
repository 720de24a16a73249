"""An evaluation as a person sees it.

notes.py    What the figures of an evaluation cannot tell, in sentences: the sceptic's part of the report
picture.py  `--picture`
stages.py   How far an evaluation has come
tables.py   An evaluation in the terminal
"""
