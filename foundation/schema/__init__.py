"""Room 2, validate: what a record is, declared once; pydantic is used here alone.

Comes in: a class with typed fields (`Record`) and a chunk of raw text. Goes out: a `Source` that everything else is
derived from, and for each chunk the rows that are valid and every reason why the others are not. Promised: a value is
stored as it was written or the record is rejected; the same text gives the same result in every process.
"""

from foundation.schema.checks import Dialect
from foundation.schema.diagnosis import diagnose, reason
from foundation.schema.files import left_out_warnings, paths_of
from foundation.schema.formats import Format, guess
from foundation.schema.record import Record, find_source, load_sources, sources_in
from foundation.schema.source import Column, Source, in_order, with_parents
from foundation.schema.types import COLUMN_TYPES, STORED_TYPES
from foundation.schema.validator import Row, Value, Verdict, judge, reader_of, without
