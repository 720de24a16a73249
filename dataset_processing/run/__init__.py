"""One run of a dataset config: which files, which steps, what is up to date, and what is written.

flow.py         One pass of all records through all steps
journal.py      What has been done
manifest.py     The files that make a folder of FLAC a dataset
names.py        Output names
pool.py         Running a step over many records in worker processes
progress_file.py  How far a run has come, in a small file for other programs to read
removal.py      What a run would take out of a dataset
result.py       What a run is told about the processes beside it, what it shows on the way, and what it comes to
run_config.py   The config of a run, and what can be wrong with it before anything is read
runner.py       Runs the steps of a dataset config over a source folder, doing only what is missing or changed
shared_work.py  What the runner does for a collective step
sources.py      Finding the files of a source folder: every file is listed, and what is not a track says why
stage.py        One step in a run
system_folders.py  Folders that systems and programs put among people's music
terminal.py     What a person sees of a run in the terminal: one progress bar, and tables at the end
"""
