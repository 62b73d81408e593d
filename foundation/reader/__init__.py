"""Room 1, read: bytes of a CSV file come in, records that know their place go out.

Comes in: a path, and how its file is written and which columns are wanted (`Layout`). Goes out: chunks of raw text,
column by column, each record with its number, its lines and its byte range; malformed records apart, with the reason.
Promised: every record of the file comes out once, the same whatever the chunk size, and a malformed one costs only
itself; memory does not grow with the file. The reader knows no schema.
"""

from foundation.reader.chunk import Chunk, Damaged, Place, Position
from foundation.reader.compression import PACKED, unpacked_beside
from foundation.reader.csv_writer import guard, unguard, write_csv
from foundation.reader.dialect import COMMAS, UNPACKED_LIMIT, Dialect, Layout, key_text
from foundation.reader.reader import Reader, reread
from foundation.reader.recovery import SHOWN, Error
