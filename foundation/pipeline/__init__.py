"""Room 4, load: reader, schema and store put together.

Comes in: a folder of files or rejects that are to be revalidated. Goes out: a `Run` with its loads. Promised: every
record is in its table or among the rejects; a load that was stopped at any instruction resumes at its checkpoint with
the same result.
"""
