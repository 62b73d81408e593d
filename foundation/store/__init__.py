"""Room 3, store: one SQLite file with the tables of the sources and the ledger beside them.

Comes in: validated rows and rejected records of a chunk. Goes out: tables with keys and references, and what the
ledger knows of runs, loads, chunks and rejects. Promised: one writer, one transaction a chunk with its rows, rejects
and checkpoint; nothing else opens the file.
"""

from foundation.store.counts import EXAMPLES, checks_digest, require_conserved
from foundation.store.database import Connection, Store, connect, now, quote, scratch, translate_sqlite_errors
from foundation.store.ledger import COUNTS, Load, Progress, Run, end_run, find_checkpoint, new_run_id, versions
from foundation.store.lock import write_lock
from foundation.store.references import key_of, known_parents
from foundation.store.rejects import REJECT_ID, file_error, format_errors, plain_key
from foundation.store.status import LoadKind, LoadStatus, RejectStatus, RunStatus, run_status
from foundation.store.writer import TableWriter, duplicate_key_error, orphan_error
