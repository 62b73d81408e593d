"""Deterministic data like the real files, with faults on request.

Every record throws dice of its own, made from the seed, its source and its number. So a log can throw those of its
order again, to fit it and to know whether it is damaged, and no record need be remembered. Unlike the real files,
which are pure chance, these have something to find: orders fail more in fog, in heavy traffic and in one city.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from hashlib import blake2b
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple, TypeVar

from foundation.delivery.sources import SOURCES
from foundation.schema.source import Source

_T = TypeVar("_T")
_SOURCES = {source.name: source for source in SOURCES}
_PARSE = {"too_few_fields", "too_many_fields", "stray_quote", "unclosed_quote", "bare_carriage_return"}
_BAD_DATES = ["31/12/2025 10:00", "2025-02-30 10:00:00"]
_QUOTED = {"client_name", "address_line1", "delivery_address_line1", "feedback_text"}  # now and then
_ORDERS_FOR_EACH = {"clients": 20, "drivers": 5, "warehouses": 200}


class Fault(NamedTuple):
    """One reason to refuse a record that was written; a record can have several, each in another column.

    Lines count from 1, the header; the byte range includes the line end.
    """

    source: str
    record: int
    line: int
    byte_start: int
    byte_end: int
    column: str | None
    code: str


def write_sample(out: Path, *, orders: int = 10_000, faults: float = 0.0, seed: int = 0) -> list[Fault]:
    """Write eight files like the real ones into the folder *out*: the same bytes for the same arguments, anywhere.

    *faults* is the share of records to damage in each file, from 0 to 1. Returned is every reason to refuse a record,
    those included that follow from damaged parents.
    """
    if orders < 1 or not 0 <= faults <= 1:
        raise ValueError(f"orders must be at least 1 and faults from 0 to 1, got {orders} and {faults}")
    out.mkdir(parents=True, exist_ok=True)
    world = _World(seed, faults, {name: max(1, orders // _ORDERS_FOR_EACH.get(name, 1)) for name in _SOURCES})
    return [fault for source in SOURCES for fault in _write_file(out / source.file_name, source, world)]


def _write_file(path: Path, source: Source, world: "_World") -> Iterator[Fault]:
    with path.open("wb") as file:
        start = file.write(",".join(column.header for column in source.columns).encode() + b"\n")
        line, sound = 2, 0  # sound: the key that a duplicate takes, now and then another one
        for number in range(1, world.counts[source.name] + 1):
            draw = world.draw(source, number)
            if draw.code == "duplicate_key" and not sound:
                draw = draw._replace(code="greater_than")  # its key becomes 0
            reasons = world.reasons(draw)
            raw = _record(draw, world.scene(draw), sound)
            end = start + file.write(raw)
            for column, code in reasons:
                yield Fault(source.name, number, line, start, end, column, code)
            line, start = line + raw.count(b"\n"), end
            if not reasons and (not sound or number % 100 == 0):
                sound = number


class _Dice:
    """A linear congruential generator: quickly seeded, and the same with every Python."""

    def __init__(self, *seed: object) -> None:
        self._state = int.from_bytes(blake2b(repr(seed).encode(), digest_size=8).digest(), "big")

    def below(self, stop: int) -> int:
        self._state = state = (self._state * 6_364_136_223_846_793_005 + 1_442_695_040_888_963_407) % 2**64
        return state * stop >> 64

    def pick(self, things: Sequence[_T]) -> _T:
        return things[self.below(len(things))]

    def digits(self, count: int) -> str:
        return f"{self.below(10**count):0{count}}"

    def phone(self) -> str:
        return self.pick(["", "0", "+91"]) + self.digits(10)


class _Draw(NamedTuple):
    """A record begun: its references, its fault (what, in which column, what becomes of it), dice for the rest."""

    source: Source
    number: int
    references: dict[str, int]
    code: str | None
    at: int
    form: str
    dice: _Dice


@dataclass(frozen=True)
class _World:
    """What all records depend on."""

    seed: int
    faults: float
    counts: Mapping[str, int]

    def draw(self, source: Source, number: int) -> _Draw:
        dice, code, at, form = _Dice(self.seed, source.name, number), None, 0, ""
        references = {column: 1 + dice.below(self.counts[to]) for column, to in source.references.items()}
        if dice.below(10**9) < self.faults * 10**9:
            fault = _Dice(self.seed, source.name, number, "fault")  # the record's own throws stay what they were
            code, positions, forms = fault.pick(_kinds(source))
            at, form = fault.pick(positions), fault.pick(forms)
            if code == "orphan":
                column = source.columns[at].name
                references[column] += self.counts[source.references[column]]
        return _Draw(source, number, references, code, at, form, dice)

    def scene(self, draw: _Draw) -> "_Scene":
        """The scene of the order that a record belongs to, else its own."""
        order = draw.references.get("order_id")
        return _scene(self.draw(_SOURCES["orders"], order).dice if order else draw.dice)

    def reasons(self, draw: _Draw) -> list[tuple[str | None, str]]:
        """Column and code of everything for which a record is to be refused."""
        if not self.faults:
            return []
        column = draw.source.columns[draw.at].name
        if draw.code and draw.code not in ("orphan", "duplicate_key"):
            return [(None if draw.code in _PARSE else column, draw.code)]
        parents = draw.source.references
        found = [(name, self._lack(_SOURCES[parents[name]], key)) for name, key in draw.references.items()]
        lacks: list[tuple[str | None, str]] = [(name, code) for name, code in found if code]
        return lacks or ([(column, draw.code)] if draw.code else [])

    def _lack(self, parent: Source, key: int) -> str | None:
        """Why *parent* has no record with this key, if so; a rejected one is known when its key can be read."""
        if key > self.counts[parent.name]:
            return "orphan"
        draw = self.draw(parent, key)
        if not self.reasons(draw):
            return None
        has_lost_its_key = draw.code and parent.columns[draw.at].name == parent.key
        return "orphan" if has_lost_its_key else "parent_rejected"


@lru_cache(maxsize=64)
def _kinds(source: Source) -> list[tuple[str, list[int], list[str]]]:
    """The faults a record can have: code, positions of the columns that can have it, what becomes of the field."""
    columns = list(enumerate(source.columns))
    key, last = source.position(source.key), len(columns) - 1
    texts = [i for i, c in columns if c.required and c.kind in (str, datetime)]
    quoted = [i for i, c in columns if c.name in _QUOTED]
    kinds = [
        ("missing", [i for i, c in columns if c.required], [""]),
        ("int_parsing", [key], ["{field}.0", "1_000"]),
        ("datetime_parsing", [i for i, c in columns if c.kind is datetime], _BAD_DATES),
        ("literal_error", [i for i, c in columns if c.vocabulary], ["Unknown"]),
        ("greater_than_equal", [i for i, c in columns if c.name in ("amount", "capacity", "rating")], ["-{field}"]),
        ("less_than_equal", [i for i, c in columns if c.name == "rating"], ["9"]),
        ("float_parsing", [i for i, c in columns if c.kind is float], ["inf", "nan"]),
        ("too_few_fields", [last], [""]),
        ("too_many_fields", [last], ["{field},"]),
        ("stray_quote", texts, ['{head}"{tail}']),
        ("unclosed_quote", [i for i in texts if i >= max(quoted, default=0)], ['"{bare}']),  # no later one closes it
        ("bare_carriage_return", [i for i in texts if i not in quoted], ["{head}\r{tail}"]),  # legal inside quotes
        ("invalid_utf8", texts, ["{head}\udce9{tail}"]),  # the byte E9, by surrogateescape
        ("nul_byte", texts, ["{head}\0{tail}"]),
        ("duplicate_key", [key], ["{sound}"]),
        ("orphan", [source.position(name) for name in source.references], ["{field}"]),
    ]
    return [kind for kind in kinds if kind[1]]


def _record(draw: _Draw, scene: "_Scene", sound: int) -> bytes:
    """The bytes of a record, damaged as it is drawn; *sound* is a key that the file has already."""
    values = _VALUES[draw.source.name](draw.number, draw.dice, scene)
    row = [str(draw.number), *map(str, draw.references.values())]
    row += [f'"{value}"' if "," in value or "\n" in value else value for value in values]
    if draw.code == "too_few_fields":
        row.pop()
    elif draw.code:
        field, bare = row[draw.at], row[draw.at].strip('"')
        cut = 1 + draw.dice.below(len(bare) - 1) + (field != bare)  # neither at an end nor at a quote
        forms = {"field": field, "bare": bare, "head": field[:cut], "tail": field[cut:], "sound": sound}
        row[draw.at] = draw.form.format_map(forms)
    return (",".join(row) + "\n").encode(errors="surrogateescape")


_START, _HOUR, _DAY, _SPAN = datetime(2025, 1, 1), 3_600, 86_400, 255 * 86_400  # seconds
_GIVEN = ["Aarav", "Dev", "Farhan", "Gokul", "Ira", "Kavya", "Meera", "Navya", "Tara"] * 8 + ["José", "Zoë"]
_FAMILY = ["Agarwal", "Bose", "Chaudhry", "Ghosh", "Iyer", "Khan", "Menon", "Nair", "Patel", "Yadav"] * 8 + ["D’Souza"]
_WAYS = ["Chowk", "Ganj", "Marg", "Nagar", "Path", "Road", "Street"]
_COMPANIES = ["BlueDart", "Delhivery", "EcomExpress", "In-house", "Shadowfax"]
_CITIES = [
    ("Delhi", "New Delhi"), ("Gujarat", "Ahmedabad"), ("Gujarat", "Surat"), ("Karnataka", "Bengaluru"),
    ("Karnataka", "Mysuru"), ("Maharashtra", "Mumbai"), ("Maharashtra", "Nagpur"), ("Maharashtra", "Pune"),
    ("Tamil Nadu", "Chennai"), ("Tamil Nadu", "Coimbatore"),
]  # fmt: skip
_CAUSES = ["Incorrect address", "Stockout", "Traffic congestion", "Warehouse delay", "Weather disruption"]
_MOODS = {  # in tenths, by the status of the order
    "Delivered": ["Positive"] * 7 + ["Neutral"] * 2 + ["Negative"],
    "In-Transit": ["Positive"] * 3 + ["Neutral"] * 4 + ["Negative"] * 3,
    "Pending": ["Positive"] * 1 + ["Neutral"] * 5 + ["Negative"] * 4,
    "Returned": ["Neutral"] * 4 + ["Negative"] * 6,
    "Failed": ["Neutral"] * 2 + ["Negative"] * 8,
}
_TEXTS = {
    "Positive": ["On time, thank you.", "Friendly driver", "Good service, will order again."],
    "Neutral": ["Fine so far", "No news yet, still waiting.", "Parcel a bit battered, contents fine"],
    "Negative": ["Nobody came, nobody called.", "Wrong parcel", "Late, and the driver was rude."],
}
_RATINGS = {"Positive": "3444455555", "Neutral": "2233333344", "Negative": "1111122225"}


class _Scene(NamedTuple):
    """What all records of one order share."""

    person: str
    city: str
    state: str
    placed: int  # seconds after _START
    traffic: str
    weather: str
    status: str
    reason: str


def _scene(dice: _Dice) -> _Scene:
    state, city = dice.pick(_CITIES)
    traffic, weather = dice.pick(["Clear", "Heavy", "Moderate"]), dice.pick(["Clear", "Fog", "Rain"])
    is_heavy, is_foggy = traffic == "Heavy", weather == "Fog"
    has_failed = dice.below(100) < 6 + 16 * is_heavy + 14 * is_foggy + 20 * (city == "Mumbai")
    status = "Failed" if has_failed else dice.pick(["Delivered", "In-Transit", "Pending", "Returned"])
    causes = _CAUSES + ["Traffic congestion"] * 3 * is_heavy + ["Weather disruption"] * 3 * is_foggy
    person = f"{dice.pick(_GIVEN)} {dice.pick(_FAMILY)}"
    reason = dice.pick(causes) if has_failed else ""
    return _Scene(person, city, state, dice.below(_SPAN), traffic, weather, status, reason)


_VALUES: dict[str, Callable[[int, _Dice, _Scene], list[str]]] = {  # of the columns behind key and references
    "clients": lambda n, d, s: [
        d.pick(["{0} Group", "{0} LLC", "{0}-{1}", "{0}, {1} and Sons"]).format(d.pick(_FAMILY), d.pick(_FAMILY)),
        f"27ABCDE{n % 10_000:04}F1Z{n % 10}", s.person, d.phone(), f"office{n}@example.com",
        *_address(d), s.city, s.state, d.digits(6), *_moments(s.placed - _DAY * d.below(1_826)),
    ],
    "drivers": lambda n, d, s: [
        s.person, d.phone(), f"DL{n:04}{d.digits(4)}", d.pick(_COMPANIES), s.city, s.state,
        d.pick(["Active", "Inactive"]), *_moments(s.placed - _DAY * d.below(1_826)),
    ],
    "warehouses": lambda n, d, s: [
        f"Warehouse {n}", s.state, s.city, d.digits(6), str(500 + d.below(1_501)), s.person, d.phone(),
        *_moments(s.placed - _DAY * d.below(1_826)),
    ],
    "orders": lambda n, d, s: [
        s.person, d.phone(), *_address(d), s.city, s.state, d.digits(6), *_order_dates(d, s), s.status,
        d.pick(["COD", "Prepaid"]), str((20_014 + d.below(479_857)) / 100), s.reason, *_moments(d.below(_SPAN)),
    ],
    "fleet_logs": lambda n, d, s: [
        f"MH{d.digits(2)}{d.pick('ABCDEFGH')}{d.pick('JKLMNPRS')}{d.digits(4)}", f"R{1 + d.below(100)}",
        d.pick(["", "Address not found", "Breakdown", "Heavy congestion"]),
        *_moments(s.placed + d.below(3 * _DAY), _HOUR * (1 + d.below(8))), *_moments(d.below(_SPAN)),
    ],
    "warehouse_logs": lambda n, d, s: [
        *_moments(s.placed + d.below(2 * _DAY), 60 * (5 + d.below(16)), 60 * (10 + d.below(51))),
        d.pick(["", "Slow packing", "Stock delay on item", "System issue"]),
    ],
    "external_factors": lambda n, d, s: [
        s.traffic, s.weather, d.pick(["", "Festival", "Holiday", "Strike"]), *_moments(s.placed + d.below(5 * _DAY)),
    ],
    "feedback": lambda n, d, s: [
        s.person, d.pick(_TEXTS[mood := d.pick(_MOODS[s.status])]), mood, d.pick(_RATINGS[mood]),
        *_moments(s.placed + _DAY + d.below(9 * _DAY)),
    ],
}  # fmt: skip


def _address(dice: _Dice) -> list[str]:
    house = dice.pick(["{1}", "H.No. {1}", "{0:02}/{1}"]).format(dice.below(100), dice.below(1_000))
    street, quarter = (f"{dice.pick(_FAMILY)} {dice.pick(_WAYS)}" for _ in range(2))
    return [house + dice.pick([", ", "\n"]) + street, quarter]


def _order_dates(dice: _Dice, scene: _Scene) -> list[str]:
    """Ordered, promised and delivered; the last is empty as long as it is not."""
    dates = _moments(scene.placed, _DAY * (1 + dice.below(5)), _DAY * dice.below(3))
    return dates if scene.status == "Delivered" else [*dates[:2], ""]


def _moments(*steps: int) -> list[str]:
    """Moments that follow each other by *steps*, seconds after _START."""
    return [str(_START + timedelta(seconds=at)) for at in accumulate(steps)]
