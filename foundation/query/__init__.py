"""Room 5, read back: lazy queries over a database, as pages, streams, frames, counts and files.

Comes in: the name of a table or a SELECT, conditions and an order. Goes out: rows, in pages that stay exact while the
data is the same. Promised: values are bound, never written into SQL; an unknown name or an impossible value is refused
at once; nothing is written.
"""
