"""Notebooks in, pages out: a run of the notebooks on a delivery as a folder of HTML pages that can be forwarded.

Comes in: a delivery, parameters and the notebooks. Goes out: executed notebooks, pages, an index and a manifest.
Promised: each page says truthfully what became of its notebook; it needs no network and runs no script. papermill and
nbconvert are used here alone; they are imported by the modules named below, not by the room, since every kernel
imports its widgets.
"""
