"""Room 1, read: bytes of a CSV file come in, records that know their place go out.

Comes in: a path, and how its file is written and which columns are wanted (`Layout`). Goes out: chunks of raw text,
column by column, each record with its number, its lines and its byte range; malformed records apart, with the reason.
Promised: every record of the file comes out once, the same whatever the chunk size, and a malformed one costs only
itself; memory does not grow with the file. The reader knows no schema.
"""
