"""Which files of a delivery's folder hold a source."""

from pathlib import Path

from foundation.reader import PACKED, unpacked_beside
from foundation.schema.source import Source


def paths_of(source: Source, data: Path) -> list[Path]:
    """The files of *source* in the folder *data*, plain or packed, sorted by name; if none, the missing one.

    A packed file beside the plain one of its name is left out.
    """
    paths = {path for ending in ("", *PACKED) for path in data.glob(source.pattern + ending)}
    return sorted(path for path in paths if unpacked_beside(path) not in paths) or [data / source.pattern]


def left_out_warnings(path: Path) -> list[str]:
    """A sentence on each packed file that `paths_of` leaves out because of the plain one at *path*."""
    packed = [] if unpacked_beside(path) else [path.with_name(path.name + ending) for ending in PACKED]
    return [f"{other.name} is there, too, and left out: keep one of them" for other in packed if other.exists()]
