"""Room 2, validate: what a record is, declared once; pydantic is used here alone.

Comes in: a class with typed fields (`Record`) and a chunk of raw text. Goes out: a `Source` that everything else is
derived from, and for each chunk the rows that are valid and every reason why the others are not. Promised: a value is
stored as it was written or the record is rejected; the same text gives the same result in every process.
"""
