"""Room 3, store: one SQLite file with the tables of the sources and the ledger beside them.

Comes in: validated rows and rejected records of a chunk. Goes out: tables with keys and references, and what the
ledger knows of runs, loads, chunks and rejects. Promised: one writer, one transaction a chunk with its rows, rejects
and checkpoint; nothing else opens the file.
"""
