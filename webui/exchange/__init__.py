"""Audio that comes in and clips that are taken home.

downloads.py  Taking clips home: in any format, at any loudness, with loop points, and many at once as a zip
helper.py     Short-lived processes for audio that is not trusted
incoming.py   Audio that a visitor brings in, decoded in a process of its own
outgoing.py   Clips as files to take home, written in a process of its own
sources.py    Audio that clips start from: clips of the history, and what visitors brought in
uploads.py    Audio that visitors bring in: a clip of ours to restore its settings, or any audio to start from
"""
