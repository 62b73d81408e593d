"""Load recurring CSV exports into a database you can trust, read them back, and report on them in notebooks."""

from foundation.delivery.sources import SOURCES
from foundation.errors import (
    FoundationError,
    QueryError,
    ReportError,
    SchemaError,
    SourceError,
    StoreError,
)
from foundation.lake.database import open_database as open
from foundation.pipeline.load import Run, ingest
from foundation.query.page import Page
from foundation.query.query import Database, Query
from foundation.schema.formats import Format
from foundation.schema.source import Record, Source, load_sources, with_parents
from foundation.store.ledger import Load

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
