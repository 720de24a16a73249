"""Which tracks are the same recording, and what follows from that.

acoustic_fingerprint.py  A robust audio fingerprint
near.py                  Which tracks hold the same recording
resolve.py               What follows from duplicates
"""
