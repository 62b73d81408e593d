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
from foundation.ingest import Run, ingest
from foundation.ledger import Load
from foundation.source import Record, Source, load_sources

__all__ = [
    "SOURCES",
    "FoundationError",
    "Load",
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
]
