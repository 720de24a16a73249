"""New generators: from a folder of music to a model, on the page. Imports no torch.

The commands are those that one would type, in processes of their own; the page reads what they write.

commands.py   Short commands whose answer the page waits for: each a process of its own
crew.py       The processes that make generators: started, found again after a restart, and asked to stop
demos.py      The demos of a training, found in the event files that it writes for TensorBoard, as they appear
forecast.py   What this machine can do of each preset: predicted once, by a command, while the page waits
generator.py  A generator in the making: what it is made of, where it lies, and the commands that make it
presets.py    How a generator can be made: one JSON file in config/generators/ for each way, found by listing
processes.py  Processes by number and start time
progress.py   How far a stage is, from what its command writes
reading.py    What the commands of one generator have written, as the page shows it
removal.py    Generators that were removed: their folders lie in a bin until that is emptied
roots.py      The folders of music that a visitor may choose from
routes.py     The addresses of new generators
runner.py     Runs the commands that make a generator, one after another: a process of its own
studio.py     New generators: what the page can do about them, without HTTP
survey.py     What a folder of music holds, before anything is written
turns.py      One device, two users: training and playing take turns, and the page says which has it
"""
