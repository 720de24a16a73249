"""What is asked of a GPU: a file for each part, with `ORDER`, `LIMIT` (seconds), `GOALS` and `measure(context)`.

`GOALS` is figure -> (what it is, "at least" or "at most", goal), or an empty goal for what is only told. Files are
found by listing and run in their order of worth.
"""
