"""Notebooks in, pages out: a run of the notebooks on a delivery as a folder of HTML pages that can be forwarded.

Comes in: a delivery, a target to load it into, parameters. Goes out: executed notebooks, a page for each, an index, a
manifest; or the last run, if it is up to date. Promised: each page says truthfully what became of its notebook; it
needs no network and runs no script; `verify` repeats a run from its manifest and names what differs.

papermill and nbconvert are used here alone. The modules import them, not the room, since every kernel imports its
widgets.
"""
