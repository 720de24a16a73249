"""`python -m tests.benchmarks.gpu --out FOLDER`: all that a GPU is to be asked, in at most nine minutes."""
