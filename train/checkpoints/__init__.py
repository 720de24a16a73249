"""What a run leaves to go on from.

changes.py     What differs from the last run of the same training: settings, and the data that it learns from
checkpoint.py  Checkpoints that survive being killed, a full disk, and damage
recovery.py    What a run leaves to go on from: checkpoints, going back to one, and the published weights
"""
