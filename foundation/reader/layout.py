"""What the reader must know of the files of one kind, whatever declares it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from foundation.reader.dialect import COMMAS, Dialect

UNPACKED_LIMIT = 20_000_000_000  # bytes that a packed file may have in it, where none are declared


@dataclass(frozen=True, slots=True)
class Layout:
    """How files are written and which of their columns are wanted: those named by *headers*, in this order.

    Without headers any columns will do, all are wanted, and the first is the key.
    """

    headers: tuple[str, ...] = ()
    dialect: Dialect = COMMAS
    keys: tuple[int, ...] = (0,)  # which of the wanted columns identify a record together
    integers: frozenset[str] = frozenset()  # headers of the columns that hold whole numbers
    former: tuple[str | None, ...] = ()  # what each wanted column was called in records kept from older files
    max_unpacked: int = UNPACKED_LIMIT  # bytes

    def positions(self, header: Sequence[str]) -> list[int | None]:
        """Where each wanted column stands in *header*, by its own name or its former one; None: it is not there."""
        names = zip(self.headers, self.former, strict=True)
        return [next((header.index(name) for name in both if name in header), None) for both in names]

    def key_of(self, fields: Sequence[str], positions: Sequence[int | None]) -> str | None:
        """The key of a record whose wanted columns stand at these *positions*, if all of it is among its fields."""
        wanted = [positions[key] for key in self.keys]
        texts = [fields[at] for at in wanted if at is not None and at < len(fields)]
        return key_text(texts) if len(texts) == len(wanted) else None


def key_text(values: Sequence[object]) -> str:
    """A key as the ledger has it: its value as text, or a JSON array of texts where it has several columns."""
    texts = list(map(str, values))
    return texts[0] if len(texts) == 1 else json.dumps(texts, ensure_ascii=False, separators=(",", ":"))
