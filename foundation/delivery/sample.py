"""Deterministic data like the real files, with faults on request.

Every record has random numbers of its own, made from the seed, its source and its number. So a log can draw those of
its order again, to fit it and to know whether it is damaged, and no record need be remembered. Unlike the real files,
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
from foundation.schema import Source

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
    counts = {name: max(1, orders // _ORDERS_FOR_EACH.get(name, 1)) for name in _SOURCES}
    delivery = _Delivery(seed, faults, counts)
    return [fault for source in SOURCES for fault in _write_file(out / source.file_name, source, delivery)]


def _write_file(path: Path, source: Source, delivery: "_Delivery") -> Iterator[Fault]:
    with path.open("wb") as file:
        start = file.write(",".join(column.header for column in source.columns).encode() + b"\n")
        line, valid_key = 2, 0  # that a duplicate takes, now and then another one
        for number in range(1, delivery.counts[source.name] + 1):
            record = delivery.record(source, number)
            if record.code == "duplicate_key" and not valid_key:
                record = record._replace(code="greater_than")  # its key becomes 0
            reasons = delivery.reasons(record)
            raw = _bytes_of(record, delivery.setting(record), valid_key)
            end = start + file.write(raw)
            for column, code in reasons:
                yield Fault(source.name, number, line, start, end, column, code)
            line, start = line + raw.count(b"\n"), end
            if not reasons and (not valid_key or number % 100 == 0):
                valid_key = number


class _Random:
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


class _Record(NamedTuple):
    """A record with its references; `random` is for the rest of its values.

    If it is damaged, `code` says how, `at` in which column, and `form` what becomes of that field.
    """

    source: Source
    number: int
    references: dict[str, int]
    code: str | None
    at: int
    form: str
    random: _Random


@dataclass(frozen=True)
class _Delivery:
    """What all records depend on."""

    seed: int
    faults: float
    counts: Mapping[str, int]

    def record(self, source: Source, number: int) -> _Record:
        random, code, at, form = _Random(self.seed, source.name, number), None, 0, ""
        references = {column: 1 + random.below(self.counts[to]) for column, to in source.references.items()}
        if random.below(10**9) < self.faults * 10**9:
            of_fault = _Random(self.seed, source.name, number, "fault")  # the values of the record stay what they were
            code, positions, forms = of_fault.pick(_faults_of(source))
            at, form = of_fault.pick(positions), of_fault.pick(forms)
            if code == "orphan":
                column = source.columns[at].name
                references[column] += self.counts[source.references[column]]
        return _Record(source, number, references, code, at, form, random)

    def setting(self, record: _Record) -> "_Setting":
        """That of the order that a record belongs to, else its own."""
        order = record.references.get("order_id")
        return _setting(self.record(_SOURCES["orders"], order).random if order else record.random)

    def reasons(self, record: _Record) -> Sequence[tuple[str | None, str]]:
        """Column and code of everything for which a record is to be refused."""
        if not self.faults:
            return []
        column = record.source.columns[record.at].name
        if record.code and record.code not in ("orphan", "duplicate_key"):
            return [(None if record.code in _PARSE else column, record.code)]
        parents = record.source.references
        codes = [(name, self._missing(_SOURCES[parents[name]], key)) for name, key in record.references.items()]
        return [(name, code) for name, code in codes if code] or ([(column, record.code)] if record.code else [])

    def _missing(self, parent: Source, key: int) -> str | None:
        """Why *parent* has no record with this key, if so; a rejected one is known when its key can be read."""
        if key > self.counts[parent.name]:
            return "orphan"
        record = self.record(parent, key)
        if not self.reasons(record):
            return None
        has_lost_its_key = record.code and parent.columns[record.at].name == parent.key
        return "orphan" if has_lost_its_key else "parent_rejected"


@lru_cache(maxsize=64)
def _faults_of(source: Source) -> list[tuple[str, list[int], list[str]]]:
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
        ("duplicate_key", [key], ["{valid_key}"]),
        ("orphan", [source.position(name) for name in source.references], ["{field}"]),
    ]
    return [kind for kind in kinds if kind[1]]


def _bytes_of(record: _Record, setting: "_Setting", valid_key: int) -> bytes:
    """The bytes of a record, damaged as it is meant to be; *valid_key* is one that the file has already."""
    values = _VALUES[record.source.name](record.number, record.random, setting)
    row = [str(record.number), *map(str, record.references.values())]
    row += [f'"{value}"' if "," in value or "\n" in value else value for value in values]
    if record.code == "too_few_fields":
        row.pop()
    elif record.code:
        field, bare = row[record.at], row[record.at].strip('"')
        cut = 1 + record.random.below(len(bare) - 1) + (field != bare)  # neither at an end nor at a quote
        parts = {"field": field, "bare": bare, "head": field[:cut], "tail": field[cut:], "valid_key": valid_key}
        row[record.at] = record.form.format_map(parts)
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


class _Setting(NamedTuple):
    """What all records of one order share."""

    person: str
    city: str
    state: str
    placed: int  # seconds after _START
    traffic: str
    weather: str
    status: str
    reason: str


def _setting(random: _Random) -> _Setting:
    state, city = random.pick(_CITIES)
    traffic, weather = random.pick(["Clear", "Heavy", "Moderate"]), random.pick(["Clear", "Fog", "Rain"])
    is_heavy, is_foggy = traffic == "Heavy", weather == "Fog"
    has_failed = random.below(100) < 6 + 16 * is_heavy + 14 * is_foggy + 20 * (city == "Mumbai")
    status = "Failed" if has_failed else random.pick(["Delivered", "In-Transit", "Pending", "Returned"])
    causes = _CAUSES + ["Traffic congestion"] * 3 * is_heavy + ["Weather disruption"] * 3 * is_foggy
    person = f"{random.pick(_GIVEN)} {random.pick(_FAMILY)}"
    reason = random.pick(causes) if has_failed else ""
    return _Setting(person, city, state, random.below(_SPAN), traffic, weather, status, reason)


_VALUES: dict[str, Callable[[int, _Random, _Setting], list[str]]] = {  # of the columns after key and references
    "clients": lambda n, r, s: [
        r.pick(["{0} Group", "{0} LLC", "{0}-{1}", "{0}, {1} and Sons"]).format(r.pick(_FAMILY), r.pick(_FAMILY)),
        f"27ABCDE{n % 10_000:04}F1Z{n % 10}", s.person, r.phone(), f"office{n}@example.com",
        *_address(r), s.city, s.state, r.digits(6), *_times(s.placed - _DAY * r.below(1_826)),
    ],
    "drivers": lambda n, r, s: [
        s.person, r.phone(), f"DL{n:04}{r.digits(4)}", r.pick(_COMPANIES), s.city, s.state,
        r.pick(["Active", "Inactive"]), *_times(s.placed - _DAY * r.below(1_826)),
    ],
    "warehouses": lambda n, r, s: [
        f"Warehouse {n}", s.state, s.city, r.digits(6), str(500 + r.below(1_501)), s.person, r.phone(),
        *_times(s.placed - _DAY * r.below(1_826)),
    ],
    "orders": lambda n, r, s: [
        s.person, r.phone(), *_address(r), s.city, s.state, r.digits(6), *_order_dates(r, s), s.status,
        r.pick(["COD", "Prepaid"]), str((20_014 + r.below(479_857)) / 100), s.reason, *_times(r.below(_SPAN)),
    ],
    "fleet_logs": lambda n, r, s: [
        f"MH{r.digits(2)}{r.pick('ABCDEFGH')}{r.pick('JKLMNPRS')}{r.digits(4)}", f"R{1 + r.below(100)}",
        r.pick(["", "Address not found", "Breakdown", "Heavy congestion"]),
        *_times(s.placed + r.below(3 * _DAY), _HOUR * (1 + r.below(8))), *_times(r.below(_SPAN)),
    ],
    "warehouse_logs": lambda n, r, s: [
        *_times(s.placed + r.below(2 * _DAY), 60 * (5 + r.below(16)), 60 * (10 + r.below(51))),
        r.pick(["", "Slow packing", "Stock delay on item", "System issue"]),
    ],
    "external_factors": lambda n, r, s: [
        s.traffic, s.weather, r.pick(["", "Festival", "Holiday", "Strike"]), *_times(s.placed + r.below(5 * _DAY)),
    ],
    "feedback": lambda n, r, s: [
        s.person, r.pick(_TEXTS[mood := r.pick(_MOODS[s.status])]), mood, r.pick(_RATINGS[mood]),
        *_times(s.placed + _DAY + r.below(9 * _DAY)),
    ],
}  # fmt: skip


def _address(random: _Random) -> list[str]:
    house = random.pick(["{1}", "H.No. {1}", "{0:02}/{1}"]).format(random.below(100), random.below(1_000))
    street, quarter = (f"{random.pick(_FAMILY)} {random.pick(_WAYS)}" for _ in range(2))
    return [house + random.pick([", ", "\n"]) + street, quarter]


def _order_dates(random: _Random, setting: _Setting) -> list[str]:
    """Ordered, promised and delivered; the last is empty as long as it is not."""
    dates = _times(setting.placed, _DAY * (1 + random.below(5)), _DAY * random.below(3))
    return dates if setting.status == "Delivered" else [*dates[:2], ""]


def _times(*steps: int) -> list[str]:
    """Times that follow each other by *steps*, in seconds after _START."""
    return [str(_START + timedelta(seconds=at)) for at in accumulate(steps)]
