"""What the machine is and can do.

memory.py     Did memory run out? On a GPU or in main memory
precision.py  Does half precision pay on this machine? In bfloat16
threads.py    What of the machine's processors is ours, and how threads wait for one another. Imports no torch
"""
