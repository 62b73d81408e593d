"""Room 6, describe: what the tables and loads hold, in figures.

Comes in: an open `Database`. Goes out: columns, checks, drift, rejects by reason and what needs attention, as plain
values. Promised: large tables are described from what their loads kept, unless exact figures are asked for.
"""

from foundation.stats.overview import attention, broken_checks, content, describe, files_of, loads, reasons
