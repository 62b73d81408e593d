"""What the reader must know of the files of one kind, whatever declares it: how they are written, what is wanted."""

import codecs
import json
from collections.abc import Sequence
from dataclasses import dataclass

from foundation.errors import SchemaError

UNPACKED_LIMIT = 20_000_000_000  # bytes that a packed file may have in it, where none are declared


@dataclass(frozen=True, slots=True)
class Dialect:
    """The separator of the fields, one ASCII character, and the encoding by its Python name.

    Quotes, line ends and the separator are found as bytes, before a text is decoded, so that places are those of the
    file. Raises SchemaError for an encoding in which such a byte can be a part of another character, as in UTF-16.
    """

    delimiter: str = ","
    encoding: str = "utf-8"

    def __post_init__(self) -> None:
        mark = self.delimiter
        if len(mark) != 1 or (mark != "\t" and (not " " <= mark <= "~" or mark.isalnum() or mark in '"-')):
            raise SchemaError(f"delimiter={mark!r}: name one character such as ';', no letter, digit, quote or minus")
        try:
            name = codecs.lookup(self.encoding).name.removesuffix("-sig")  # a mark at the start is read over anyway
            is_sound = _keeps_bytes(name, mark)
        except (LookupError, ValueError) as error:
            raise SchemaError(f"encoding={self.encoding!r}: Python knows no such text encoding") from error
        if not is_sound:
            raise SchemaError(
                f"encoding={self.encoding!r}: its files cannot be read byte by byte; declare one that holds ASCII, "
                "such as 'cp1252', or convert them to UTF-8"
            )
        object.__setattr__(self, "encoding", name)


def _keeps_bytes(encoding: str, delimiter: str) -> bool:
    """Whether ASCII is ASCII and nothing else, and no other byte takes a quote, a line end or the separator along."""
    ascii_bytes = bytes(range(128))
    others = [character.encode(encoding, "ignore") for character in "éпあ漢한"]
    if ascii_bytes.decode(encoding, "replace") != ascii_bytes.decode() or any(o and o.isascii() for o in others):
        return False
    marks = ("\n", "\r", '"', delimiter)
    return all(
        bytes([first, ord(mark)]).decode(encoding, "replace").endswith(mark)
        for first in range(128, 256)
        for mark in marks
    )


COMMAS = Dialect()


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
