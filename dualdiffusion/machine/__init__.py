"""What the machine is and can do, and what is done where it cannot. Only `system.py` asks which system this is.

account.py    The account that a process runs under, which may have no name. Imports no torch
helping.py    What a process that helps another one does first
limits.py     Open files, processes, and memory that processes share
locks.py      Holding a file for one process, by whatever means the system has
memory.py     Did memory run out? On a GPU or in main memory
notices.py    What the machine lacks, told once
output.py     What a command prints, whatever becomes of whoever reads it
precision.py  Does half precision pay on this machine? In bfloat16
stopping.py   Signals that ask a command to stop
storage.py    Flushing and naming files by whatever means the file system has
system.py     What only some systems have, each with a second way for the others
threads.py    What of the machine's processors is ours, and how threads wait for one another. Imports no torch
"""
