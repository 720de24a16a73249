"""Dataset steps. KIND FOLDER: add one as a file here; a config names it by its file. The protocol is
`dataset_processing.step`.
"""
