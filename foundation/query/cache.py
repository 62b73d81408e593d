"""A cache bounded in bytes that forgets first what was asked for least recently, and shows its hits."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any


class Cache:
    """Holds answers up to *limit* bytes in all; 0 holds nothing.

    An answer that alone is larger is not held. `hits`, `misses` and `bytes` may be read at any time.
    """

    def __init__(self, limit: int) -> None:
        if limit < 0:
            raise ValueError(f"the limit of a cache is a number of bytes, at least 0, got {limit}")
        self.limit = limit
        self.hits = self.misses = self.bytes = 0
        self._held: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._held)

    def __repr__(self) -> str:
        return (
            f"<Cache: {self.hits:,} hits, {self.misses:,} misses, {len(self):,} answers "
            f"in {self.bytes:,} of {self.limit:,} bytes>"
        )

    def get(self, key: Hashable, find: Callable[[], Any], size: Callable[[Any], int]) -> Any:
        """What is held under *key*, else what *find* gives, which is held from now on; *size* tells its bytes."""
        if (held := self._held.get(key)) is not None:
            self._held.move_to_end(key)
            self.hits += 1
            return held[0]
        self.misses += 1
        found = find()
        taken = size(found) if self.limit else 0
        if 0 < taken <= self.limit:
            self._held[key] = found, taken
            self.bytes += taken
            while self.bytes > self.limit:
                self.bytes -= self._held.popitem(last=False)[1][1]
        return found

    def clear(self) -> None:
        """Let go of everything held; the counts of hits and misses stay."""
        self._held.clear()
        self.bytes = 0
