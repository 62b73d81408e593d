"""How a file is written: the separator of its fields, the encoding of its text, and what a record looks like then."""

import codecs
from dataclasses import dataclass

from foundation.errors import SchemaError


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
