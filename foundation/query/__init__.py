"""Room 5, read back: lazy queries over a database, as pages, streams, frames, counts and files.

Comes in: the name of a table or a SELECT, conditions and an order. Goes out: rows, in pages that stay exact while the
data is the same. Promised: values are bound, never written into SQL; an unknown name or an impossible value is refused
at once; nothing is written.
"""

from foundation.query.conditions import WORDS, Term
from foundation.query.engine import Engine, SQLiteEngine, mappings
from foundation.query.export import export
from foundation.query.lineage import explain
from foundation.query.page import Page
from foundation.query.query import Database, Query
from foundation.query.rejects_export import export_rejects
from foundation.query.relation import Relation
