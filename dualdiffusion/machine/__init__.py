"""What the machine is and can do.

locks.py      Holding a file for one process, by whatever means the system has
memory.py     Did memory run out? On a GPU or in main memory
precision.py  Does half precision pay on this machine? In bfloat16
threads.py    What of the machine's processors is ours, and how threads wait for one another. Imports no torch
"""
