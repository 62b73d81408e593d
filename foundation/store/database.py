"""One SQLite file: the tables of the sources, one transaction a chunk, and the ledger beside them.

Never open, hash or copy the database with `open()` while a process has it open: closing such a handle drops the
locks that SQLite holds on the file, and a commit can be lost (sqlite.org/howtocorrupt.html, section 2.2).
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any, Self

from foundation.errors import SchemaError, StoreError
from foundation.schema import Source
from foundation.store.lock import write_lock

Connection = sqlite3.Connection  # for rooms that do not know sqlite3

APPLICATION_ID = 0x466E6474  # "Fndt", in the header of the file
_LEDGER_VERSION = 1
_CACHE, _SORT_CACHE = -2_000, -500  # kilobytes of pages in memory; the first is SQLite's own default
_WAL_PAGES = 8_000  # 32 MB: each time it is written back, the disk is waited for


def quote(name: str) -> str:
    """A name as SQL takes it; only names from declared sources are ever passed."""
    return '"' + name.replace('"', '""') + '"'


def now() -> str:
    """The time in UTC, as it stands in the ledger."""
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")


@contextmanager
def translate_sqlite_errors(path: Path) -> Iterator[None]:
    """Raise what SQLite reports as a StoreError that names the file and says what to do."""
    try:
        yield
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", "")
        remedy = next(remedy for beginning, remedy in _REMEDIES.items() if name.startswith(beginning))
        raise StoreError(f"{path}: {error}; {remedy}") from error


_REMEDIES = {  # by the beginning of SQLite's name for the error
    "SQLITE_FULL": "make room and run the same command again, it goes on where it stopped",
    "SQLITE_IOERR": "look at the disk, then run the same command again, it goes on where it stopped",
    "SQLITE_READONLY": "make the file and its folder writable",
    "SQLITE_CANTOPEN": "the folder must be there, and it and the file be readable and writable",
    "SQLITE_BUSY": "another program is writing to it; wait until it is done",
    "SQLITE_NOTADB": "name a database that foundation made, or a new file",
    "SQLITE_CORRUPT": "look at the disk; if the file is damaged, restore it or load the files into a new one",
    "": "the database is as it was before",
}


def connect(path: Path, *, read_only: bool) -> sqlite3.Connection:
    """A connection in autocommit mode with foreign keys enforced; all connections come from here.

    Raises StoreError when the file is not there (read only) or is not a database of this package.
    """
    if path.is_dir():
        raise StoreError(f"{path}: a folder is there, and this takes a database file; a folder of Parquet is only read")
    if read_only and not path.is_file():
        raise StoreError(f"{path}: no such database; make it with foundation ingest DATA --db {path}")
    if not path.parent.is_dir():
        raise StoreError(f"{path}: the folder {path.parent} does not exist; make it first")
    with translate_sqlite_errors(path):
        address = f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rwc'}"
        connection = sqlite3.connect(address, uri=True, isolation_level=None, timeout=10)
        with ExitStack() as undone:
            undone.callback(connection.close)
            connection.execute("PRAGMA foreign_keys = ON")
            if connection.execute("PRAGMA foreign_keys").fetchone() != (1,):
                raise StoreError(f"{path}: this SQLite does not enforce foreign keys; use a full build of it")
            _require_ours(connection, path, read_only)
            undone.pop_all()
    return connection


def scratch() -> sqlite3.Connection:
    """A connection to a private temporary database that is deleted on close."""
    connection = sqlite3.connect("", isolation_level=None)
    for pragma in ("journal_mode = OFF", "synchronous = OFF", "temp_store = FILE", "cache_size = -16000"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def _require_ours(connection: sqlite3.Connection, path: Path, read_only: bool) -> None:
    # One statement sees one state: another process may make the ledger at this moment.
    mark, version, tables = connection.execute(
        """
        SELECT application_id, user_version, (SELECT count(*) FROM sqlite_schema)
        FROM pragma_application_id, pragma_user_version
        """
    ).fetchone()
    if not tables and read_only:
        raise StoreError(f"{path}: an empty database; load a delivery into it first")
    if mark != APPLICATION_ID and tables:
        raise StoreError(f"{path}: a database, but not one of foundation; name another file")
    if tables and version != _LEDGER_VERSION:
        raise StoreError(f"{path}: made by another version of foundation (ledger {version}); load into a new file")


class Store:
    """The database, open for writing by this process alone; `close` it or use it in a `with`."""

    def __init__(self, path: Path, *, wait_s: float = 10) -> None:
        self.path = path
        self.is_rebuilding = False
        self.connection = connect(path, read_only=False)  # first: no lock file is put beside what is not ours
        with ExitStack() as undone:
            undone.callback(self.connection.close)
            self._lock = undone.enter_context(write_lock(path, wait_s=wait_s))
            with translate_sqlite_errors(path):
                self._prepare()
            undone.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        with suppress(StoreError) if error else nullcontext():  # the first error is the one to show
            self.close()

    def close(self) -> None:
        """Bring everything into the one file, on the disk, and let others write."""
        try:
            with translate_sqlite_errors(self.path):
                self.connection.execute("PRAGMA busy_timeout = 1000")  # who reads for longer leaves it to the next load
                self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            self.connection.close()
            self._lock.close()

    def _prepare(self) -> None:
        # WAL: readers go on while a chunk is written. NORMAL: a power loss may take the last chunks with their
        # checkpoints, which are then read again; `close` syncs everything.
        (mode,) = self.connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise StoreError(f"{self.path}: no write-ahead log is possible there; use a local disk")
        self.connection.execute("PRAGMA synchronous = NORMAL")
        self.connection.execute(f"PRAGMA wal_autocheckpoint = {_WAL_PAGES}")
        if not self.has("_runs"):
            ledger = files("foundation.store").joinpath("schema.sql").read_text("utf-8")
            with self.transaction():
                for statement in ledger.split(";\n"):  # `executescript` would commit what is open
                    self.connection.execute(statement)
                self.connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                self.connection.execute(f"PRAGMA user_version = {_LEDGER_VERSION}")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, part of the transaction around it if there is one; SQLite's errors become StoreErrors."""
        if self.connection.in_transaction:
            yield
            return
        with translate_sqlite_errors(self.path):
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self.connection.execute("COMMIT")
            except BaseException:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
                raise

    def execute(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> sqlite3.Cursor:
        """One statement on the connection."""
        with translate_sqlite_errors(self.path):
            return self.connection.execute(sql, parameters)

    def prepare(self, source: Source) -> None:
        """Make the source's table if it is not there; an empty one gets its indexes after its rows.

        Raises SchemaError with the differences when the table was made from another declaration.
        """
        if differences := self.differences(source):
            raise SchemaError(
                f"{self.path}: the table {source.name} was made from another declaration: {'; '.join(differences)}. "
                f"Carry it over with foundation migrate --db {self.path}, --dry-run to see what comes of it"
            )
        with self.transaction():
            if not self.has(source.name):
                self.execute(table_sql(source))
            if not self.exists(f"SELECT 1 FROM {quote(source.name)}"):
                for name, _ in index_sql(source):
                    self.execute(f"DROP INDEX IF EXISTS {quote(name)}")

    def exists(self, sql: str, parameters: Sequence[Any] = ()) -> bool:
        """Whether a SELECT finds any row."""
        return self.execute(sql, parameters).fetchone() is not None

    def has(self, table: str) -> bool:
        """Whether there is such a table."""
        return self.exists("SELECT 1 FROM sqlite_schema WHERE name = ?", (table,))

    def differences(self, source: Source) -> list[str]:
        """In words how the source is declared otherwise than the table that is there."""
        row = self.execute("SELECT sql FROM sqlite_schema WHERE name = ?", (source.name,)).fetchone()
        if not row or row[0] == table_sql(source):
            return []
        with closing(scratch()) as connection:
            connection.execute(table_sql(source))
            declared = _columns(connection, source.name)
        return _differences(_columns(self.connection, source.name), declared, source.renamed)

    @contextmanager
    def rebuilding(self) -> Iterator[None]:
        """One transaction in which tables may be dropped and made anew; references are checked at its end.

        Until then SQLite refuses no row for its references: `is_rebuilding` tells the writer to check them.
        """
        self.is_rebuilding = True
        self.execute("PRAGMA legacy_alter_table = ON")  # references to a table that is renamed stay as they are
        try:
            with self.foreign_keys_off(), self.transaction():
                yield
                if broken := self.execute("PRAGMA foreign_key_check").fetchone():
                    raise SchemaError(
                        f"{self.path}: rows of {broken[0]} refer to rows of {broken[2]} that no longer hold, and no "
                        f"source declares {broken[0]}; name the file of its class with --sources"
                    )
        finally:
            self.execute("PRAGMA legacy_alter_table = OFF")
            self.is_rebuilding = False

    @contextmanager
    def foreign_keys_off(self) -> Iterator[None]:
        """SQLite refuses no row for its references: the caller must check them."""
        self.execute("PRAGMA foreign_keys = OFF")
        try:
            yield
        finally:
            self.execute("PRAGMA foreign_keys = ON")

    def build_indexes(self, source: Source, *, is_large: bool = False) -> None:
        """Make the declared indexes that are not there; of a large table one by one, or their log would be long."""
        if is_large:  # the entries of an index are sorted in as much memory as there are pages, and no slower in less
            self.execute("PRAGMA shrink_memory")
            self.execute(f"PRAGMA cache_size = {_SORT_CACHE}")
        with nullcontext() if is_large else self.transaction():
            for _, sql in index_sql(source):
                self.execute(sql)
        self.execute(f"PRAGMA cache_size = {_CACHE}")

    def reader(self) -> sqlite3.Connection:
        """A second connection, to read in another thread while this one writes; it keeps few pages in memory."""
        connection = connect(self.path, read_only=True)
        connection.execute(f"PRAGMA cache_size = {_SORT_CACHE // 5}")
        return connection


_Columns = dict[str, tuple[Any, ...]]  # by name: type, whether it is required, position in the key, parent


def _columns(connection: sqlite3.Connection, table: str) -> _Columns:
    parents = dict(connection.execute('SELECT "from", "table" FROM pragma_foreign_key_list(?)', (table,)))
    listed = connection.execute('SELECT name, type, "notnull", pk FROM pragma_table_info(?)', (table,))
    return {name: (*rules, parents.get(name)) for name, *rules in listed if name not in ("_load", "_record")}


def _differences(there: _Columns, declared: _Columns, renamed: Mapping[str, str]) -> list[str]:
    former = {name: old for name in declared if (old := name if name in there else renamed.get(name)) in there}
    return [
        *(f"{name} is new ({_in_words(column)})" for name, column in declared.items() if name not in former),
        *(f"{name} is gone" for name in there if name not in former.values()),
        *(f"{name} was called {old}" for name, old in former.items() if name != old),
        *(
            f"{name} is {_in_words(declared[name])} now, and was {_in_words(there[old])}"
            for name, old in former.items()
            if declared[name] != there[old]
        ),
    ] or ["the columns stand in another order"]


def _in_words(column: tuple[Any, ...]) -> str:
    kind, required, key, parent = column
    rules = ("required" if required else "optional", "key" if key else "", f"refers to {parent}" if parent else "")
    return ", ".join([kind, *filter(None, rules)])


def table_sql(source: Source) -> str:
    """The statement that makes the source's table."""
    parts = []
    for column in source.columns:
        rule = " PRIMARY KEY" if (column.name,) == source.keys else ""
        rule += " NOT NULL" if column.required else ""
        if parent := source.references.get(column.name):
            rule += f" REFERENCES {quote(parent)}"
        parts.append(f"{quote(column.name)} {column.column_type.sqlite}{rule}")
    # No reference to _loads: SQLite would look it up for every row, and scan all rows when a load is taken away.
    parts += ['"_load" INTEGER NOT NULL', '"_record" INTEGER NOT NULL']
    if len(source.keys) > 1:
        parts.append(f"PRIMARY KEY ({', '.join(map(quote, source.keys))})")
    return f"CREATE TABLE {quote(source.name)} (\n  " + ",\n  ".join(parts) + "\n) STRICT"


def index_sql(source: Source) -> list[tuple[str, str]]:
    """Name and statement of each declared index."""
    named = {f"idx_{source.name}_{'_'.join(columns)}": ", ".join(map(quote, columns)) for columns in source.indexes}
    create, table = "CREATE INDEX IF NOT EXISTS", quote(source.name)
    return [(name, f"{create} {quote(name)} ON {table} ({columns})") for name, columns in named.items()]
