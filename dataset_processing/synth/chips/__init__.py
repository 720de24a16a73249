"""Sound chips, one for each game of the built-in corpus: add one as a file here."""
