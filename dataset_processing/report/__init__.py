"""What became of every file, for a person to read and hear.

charts.py   Bars and histograms as inline SVG, for a page without scripts and without inline styles
outlook.py  What a dry run can tell of music that no step has read yet
page.py     The report as one page that needs nothing else: no scripts, no other files, sounds to hear inside it
preview.py  Short MP3s of refused files, so that a person can hear in the report what was turned away
report.py   The report: what became of every file, as JSON data. `page` shows the same as a page
tables.py   The parts of the report that list files: tables with links to them, and players of some
texts.py    Numbers, lengths and names as they stand in the report
"""
