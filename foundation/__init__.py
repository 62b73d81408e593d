"""Load recurring CSV exports into a database you can trust, read them back, and report on them in notebooks."""

from foundation.delivery import SOURCES
from foundation.errors import (
    FoundationError,
    QueryError,
    ReportError,
    SchemaError,
    SourceError,
    StoreError,
)
from foundation.formats import Format
from foundation.ingest import Run, ingest
from foundation.lake import open_database as open
from foundation.ledger import Load
from foundation.pages import Page
from foundation.query import Database, Query
from foundation.source import Record, Source, load_sources, with_parents

__all__ = [
    "SOURCES",
    "Database",
    "Format",
    "FoundationError",
    "Load",
    "Page",
    "Query",
    "QueryError",
    "Record",
    "ReportError",
    "Run",
    "SchemaError",
    "Source",
    "SourceError",
    "StoreError",
    "ingest",
    "load_sources",
    "open",
    "with_parents",
]
