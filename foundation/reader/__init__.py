"""Room 1, read: bytes of a CSV file come in, records that know their place go out.

Comes in: a path and how its file is written (`Dialect`). Goes out: chunks of raw text, column by column, each record
with its number, its lines and its byte range, and malformed records apart. Promised: every byte of the file belongs to
exactly one record, whatever the chunk size; memory does not grow with the file. The reader knows no schema.
"""
