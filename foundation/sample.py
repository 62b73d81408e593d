"""Deterministic data like the real files, with faults on request.

Every record has dice of its own, thrown by the seed, its source and its number. So a log can draw its order again,
and ask whether that one is damaged, without any record being held in memory. And unlike the real files, which are
pure chance, these have something to find: orders fail more often in fog, in heavy traffic and in one city.
"""

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import NamedTuple, TypeVar

from foundation.delivery import SOURCES
from foundation.source import Source

_T = TypeVar("_T")
_SOURCES = {source.name: source for source in SOURCES}
_SHARES = {"clients": 20, "drivers": 5, "warehouses": 200}  # orders for each of them
_START, _DAY, _DAYS = datetime(2025, 1, 1), 86_400, 255

_GIVEN = "Aarav Advika Anaya Dev Diya Farhan Gokul Ira Ishaan José Kavya Meera Navya Onkar Rohan Tara Vihaan Zoë".split()
_FAMILY = "Agarwal Bose Chaudhry D’Alia Ghosh Iyer Khan Menon Nair Patel Rao Sethi Varma Yadav".split()
_WAYS = ["Chowk", "Ganj", "Marg", "Nagar", "Path", "Road", "Street"]
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_CITIES = {
    "Delhi": ["New Delhi"],
    "Gujarat": ["Ahmedabad", "Surat"],
    "Karnataka": ["Bengaluru", "Mysuru"],
    "Maharashtra": ["Mumbai", "Nagpur", "Pune"],
    "Tamil Nadu": ["Chennai", "Coimbatore"],
}
_REASONS = ["Incorrect address", "Stockout", "Traffic congestion", "Warehouse delay", "Weather disruption"]
_OPINIONS = {  # of an order in this state: the sentiments to draw from, and what is said
    "Delivered": (["Positive"] * 7 + ["Neutral"] * 2 + ["Negative"], ["On time, thank you.", "Friendly driver"]),
    "Failed": (["Negative"] * 8 + ["Neutral"] * 2, ["Nobody came, nobody called.", "Order never arrived"]),
    "In-Transit": (["Positive", "Neutral", "Negative"], ["Still on its way, it seems.", "Tracking works well"]),
    "Pending": (["Neutral"] * 2 + ["Negative"], ["No news yet, please hurry.", "Waiting for dispatch"]),
    "Returned": (["Neutral"] * 4 + ["Negative"] * 6, ["Wrong parcel, sent back.", "Took it back without fuss"]),
}
_RATINGS = {"Positive": "3444455555", "Neutral": "2233333344", "Negative": "1111122225"}

_MARK = "\ue000"  # stands in a field, through the CSV writer, where the bytes are to be damaged
_INSERTED = {"stray_quote": b'"', "bare_carriage_return": b"\r", "invalid_utf8": b"\xe9", "nul_byte": b"\0"}
_PARSE = {"stray_quote", "unclosed_quote", "bare_carriage_return", "too_few_fields", "too_many_fields"}
_QUOTED = {"client_name", "address_line1", "delivery_address_line1", "feedback_text"}  # may need quotes
_SPOILT = {  # by the code they are refused with: what stands for the good value
    "missing": [""],
    "int_parsing": ["{}.0", "1_000"],
    "datetime_parsing": ["31/12/2025 10:00", "2025-02-30 10:00:00"],
    "literal_error": ["Unknown"],
    "greater_than_equal": ["-{}"],
    "less_than_equal": ["9"],
    "float_parsing": ["inf", "nan"],
}


class Fault(NamedTuple):
    """One reason why one written record must be refused; a record can have several, one for each column.

    The line counts from 1, which is the header; the bytes include the line end of the record.
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

    *faults* is the share of records to damage in each file, from 0 to 1. All reasons to refuse a record are returned,
    those included that follow from a damaged parent.
    """
    if orders < 1 or not 0 <= faults <= 1:
        raise ValueError(f"orders must be at least 1 and faults from 0 to 1, got {orders} and {faults}")
    out.mkdir(parents=True, exist_ok=True)
    world = _World(seed, faults, {name: max(1, orders // _SHARES.get(name, 1)) for name in _SOURCES})
    return [fault for source in SOURCES for fault in _write_file(out / source.file_name, source, world)]


def _write_file(path: Path, source: Source, world: "_World") -> list[Fault]:
    found: list[Fault] = []
    with path.open("wb") as file:
        start = file.write(_csv_line(column.header for column in source.columns))
        line, sound = 2, 0  # sound: a record to take the key of a duplicate from, now and then another one
        for number in range(1, world.counts[source.name] + 1):
            draw = world.draw(source, number)
            if draw.code == "duplicate_key" and not sound:
                draw = draw._replace(code="int_parsing")
            reasons = world.reasons(draw)
            raw = _write_record(draw, world.scene(draw), sound)
            file.write(raw)
            found += [Fault(source.name, number, line, start, start + len(raw), *reason) for reason in reasons]
            line, start = line + raw.count(b"\n"), start + len(raw)
            if not reasons and (not sound or number % 100 == 0):
                sound = number
    return found


class _Dice(Random):
    """Throws that rest on `random()` alone, the one method that Python promises never to change."""

    def below(self, stop: int) -> int:
        return int(self.random() * stop)

    def pick(self, things: Sequence[_T]) -> _T:
        return things[self.below(len(things))]


class _Draw(NamedTuple):
    """A record begun: its references, the fault it is to have (code and position of the column), dice for the rest."""

    source: Source
    number: int
    references: dict[str, int]
    code: str | None
    at: int
    dice: _Dice


class _Scene(NamedTuple):
    """What all records around one order share."""

    person: str
    city: str
    state: str
    placed: int  # seconds after _START
    traffic: str
    weather: str
    status: str
    reason: str


@dataclass(frozen=True)
class _World:
    """What every record depends on."""

    seed: int
    faults: float
    counts: Mapping[str, int]

    def draw(self, source: Source, number: int) -> _Draw:
        dice = _Dice(f"{self.seed} {source.name} {number}")
        references = {column: 1 + dice.below(self.counts[to]) for column, to in source.references.items()}
        is_damaged = dice.random() < self.faults
        code, columns = dice.pick(_kinds(source))
        at = dice.pick(columns)
        if is_damaged and code == "orphan":
            column = source.columns[at].name
            references[column] += self.counts[source.references[column]]
        return _Draw(source, number, references, code if is_damaged else None, at, dice)

    def reasons(self, draw: _Draw) -> list[tuple[str | None, str]]:
        """Column and code of everything that a record is to be refused for."""
        if not self.faults:
            return []
        column = draw.source.columns[draw.at].name
        if draw.code and draw.code not in ("orphan", "duplicate_key"):
            return [(None if draw.code in _PARSE else column, draw.code)]
        to = draw.source.references
        lacks = [(name, self._lack(_SOURCES[to[name]], key)) for name, key in draw.references.items()]
        reasons: list[tuple[str | None, str]] = [(name, code) for name, code in lacks if code]
        return reasons or ([(column, draw.code)] if draw.code else [])

    def _lack(self, parent: Source, key: int) -> str | None:
        """Why a reference to *key* does not hold; a rejected parent is known by its key, if that can be read."""
        draw = self.draw(parent, key)
        if key > self.counts[parent.name]:
            return "orphan"
        if not self.reasons(draw):
            return None
        return "orphan" if draw.code and parent.columns[draw.at].name == parent.key else "parent_rejected"

    def scene(self, draw: _Draw) -> _Scene:
        """The scene of the order that a record belongs to, else of its own."""
        order = draw.references.get("order_id")
        return _set_scene(self.draw(_SOURCES["orders"], order).dice if order else draw.dice)


@lru_cache(maxsize=64)
def _kinds(source: Source) -> list[tuple[str, list[int]]]:
    """The faults that a record of this source can have: code, and positions of the columns that can have it."""
    columns = list(enumerate(source.columns))
    key = [source.position(source.key)]
    measures = [i for i, c in columns if c.kind in (int, float) and i not in key and c.name not in source.references]
    moments = [i for i, c in columns if c.kind is datetime]
    texts = [i for i, c in columns if c.required and c.kind in (str, datetime)]
    quoted = [i for i, c in columns if c.name in _QUOTED]
    kinds = {
        "missing": [i for i, c in columns if c.required],
        "int_parsing": key,
        "datetime_parsing": moments,
        "literal_error": [i for i, c in columns if c.vocabulary],
        "greater_than_equal": measures,
        "less_than_equal": [i for i, c in columns if c.name == "rating"],
        "float_parsing": [i for i, c in columns if c.kind is float],
        "too_few_fields": [len(columns) - 1],
        "too_many_fields": [len(columns) - 1],
        "stray_quote": texts,
        "unclosed_quote": [i for i in texts if i >= max(quoted, default=0)],  # a later quote would close it
        "bare_carriage_return": [i for i in texts if i not in quoted],  # legal inside quotes
        "invalid_utf8": texts,
        "nul_byte": texts,
        "duplicate_key": key,
        "orphan": [source.position(name) for name in source.references],
    }
    return [(code, at) for code, at in kinds.items() if at]


def _write_record(draw: _Draw, scene: _Scene, sound: int) -> bytes:
    """The bytes of a record, damaged as drawn; *sound* is a key that stands in the file already."""
    values = _VALUES[draw.source.name](draw.number, draw.dice, scene)
    row = [str(draw.number), *map(str, draw.references.values()), *values]
    code, at, dice = draw.code, draw.at, draw.dice
    if code in _SPOILT:
        row[at] = dice.pick(_SPOILT[code]).format(row[at])
    elif code == "duplicate_key":
        row[at] = str(sound)
    elif code == "too_few_fields":
        row.pop()
    elif code == "too_many_fields":
        row.append("")
    elif code in _INSERTED:
        cut = 1 + dice.below(len(row[at]) - 1)
        row[at] = row[at][:cut] + _MARK + row[at][cut:]
        return _csv_line(row).replace(_MARK.encode(), _INSERTED[code])
    elif code == "unclosed_quote":
        row[at] = _MARK + row[at]
        head, _, tail = _csv_line(row).partition(_MARK.encode())
        return head + tail.replace(b'"', b"", 1) if head.endswith(b'"') else head + b'"' + tail
    return _csv_line(row)


class _Encoder:
    """The file that the CSV writer believes it writes to; it hands the line back."""

    def write(self, text: str) -> bytes:
        return text.encode()


_WRITER = csv.writer(_Encoder(), lineterminator="\n")


def _csv_line(fields: Iterable[str]) -> bytes:
    line: bytes = _WRITER.writerow(fields)  # type: ignore[assignment]  # what `write` gave, says the manual
    return line


def _set_scene(dice: _Dice) -> _Scene:
    state = dice.pick(list(_CITIES))
    city = dice.pick(_CITIES[state])
    traffic, weather = dice.pick(["Clear", "Moderate", "Heavy"]), dice.pick(["Clear", "Rain", "Fog"])
    risk = 6 + 16 * (traffic == "Heavy") + 14 * (weather == "Fog") + 20 * (city == "Mumbai")
    failed = dice.below(100) < risk
    status = "Failed" if failed else dice.pick(["Delivered", "In-Transit", "Pending", "Returned"])
    causes = _REASONS + ["Traffic congestion"] * 3 * (traffic == "Heavy") + ["Weather disruption"] * 3 * (weather == "Fog")
    reason = dice.pick(causes) if failed else ""
    return _Scene(_person(dice), city, state, dice.below(_DAYS * _DAY), traffic, weather, status, reason)


def _client(number: int, dice: _Dice, scene: _Scene) -> list[str]:
    one, two, three = (dice.pick(_FAMILY) for _ in range(3))
    name = dice.pick([f"{one} Group", f"{one} LLC", f"{one}-{two}", f"{one}, {two} and {three}"])
    tax = f"27ABCDE{number % 10_000:04}F1Z{number % 10}"
    place = [*_address(dice), scene.city, scene.state, _pincode(dice)]
    return [name, tax, scene.person, _phone(dice), f"office{number}@example.com", *place, _long_ago(dice)]


def _driver(number: int, dice: _Dice, scene: _Scene) -> list[str]:
    company = dice.pick(["BlueDart", "Delhivery", "EcomExpress", "In-house", "Shadowfax"])
    licence = f"DL{number:04}{dice.below(10_000):04}"
    status = dice.pick(["Active", "Inactive"])
    return [scene.person, _phone(dice), licence, company, scene.city, scene.state, status, _long_ago(dice)]


def _warehouse(number: int, dice: _Dice, scene: _Scene) -> list[str]:
    place = [f"Warehouse {number}", scene.state, scene.city, _pincode(dice)]
    return [*place, str(500 + dice.below(1_501)), scene.person, _phone(dice), _long_ago(dice)]


def _order(number: int, dice: _Dice, scene: _Scene) -> list[str]:
    who = [scene.person, _phone(dice), *_address(dice), scene.city, scene.state, _pincode(dice)]
    promised = scene.placed + _DAY * (1 + dice.below(5))
    delivered = _moment(promised + _DAY * dice.below(3)) if scene.status == "Delivered" else ""
    money = [dice.pick(["COD", "Prepaid"]), str((20_014 + dice.below(479_857)) / 100)]
    when = [_moment(scene.placed), _moment(promised), delivered]
    return [*who, *when, scene.status, *money, scene.reason, _lately(dice)]


def _fleet_log(number: int, dice: _Dice, scene: _Scene) -> list[str]:
    letters = dice.pick(_LETTERS) + dice.pick(_LETTERS)
    vehicle = f"MH{1 + dice.below(99):02}{letters}{1 + dice.below(9_999):04}"
    note = dice.pick(["", "Address not found", "Breakdown", "Heavy congestion"])
    departure = scene.placed + dice.below(3 * _DAY)
    arrival = departure + 3_600 * (1 + dice.below(8))
    return [vehicle, f"R{1 + dice.below(100)}", note, _moment(departure), _moment(arrival), _lately(dice)]


def _warehouse_log(number: int, dice: _Dice, scene: _Scene) -> list[str]:
    start = scene.placed + dice.below(2 * _DAY)
    end = start + 60 * (5 + dice.below(16))
    dispatch = end + 60 * (10 + dice.below(51))
    note = dice.pick(["", "Slow packing", "Stock delay on item", "System issue"])
    return [_moment(start), _moment(end), _moment(dispatch), note]


def _external_factor(number: int, dice: _Dice, scene: _Scene) -> list[str]:
    event = dice.pick(["", "Festival", "Holiday", "Strike"])
    return [scene.traffic, scene.weather, event, _moment(scene.placed + dice.below(5 * _DAY))]


def _feedback(number: int, dice: _Dice, scene: _Scene) -> list[str]:
    sentiments, texts = _OPINIONS[scene.status]
    sentiment = dice.pick(sentiments)
    written = _moment(scene.placed + _DAY + dice.below(9 * _DAY))
    return [scene.person, dice.pick(texts), sentiment, dice.pick(_RATINGS[sentiment]), written]


_VALUES: dict[str, Callable[[int, _Dice, _Scene], list[str]]] = {
    "clients": _client, "drivers": _driver, "warehouses": _warehouse, "orders": _order, "fleet_logs": _fleet_log,
    "warehouse_logs": _warehouse_log, "external_factors": _external_factor, "feedback": _feedback,
}  # fmt: skip


def _person(dice: _Dice) -> str:
    return f"{dice.pick(_GIVEN)} {dice.pick(_FAMILY)}"


def _address(dice: _Dice) -> list[str]:
    number, flat = dice.below(1_000), dice.below(100)
    house = dice.pick([f"{number}", f"H.No. {number}", f"{flat:02}/{number}"])
    lines = [f"{dice.pick(_FAMILY)} {dice.pick(_WAYS)}" for _ in range(2)]
    return [house + dice.pick([", ", "\n"]) + lines[0], lines[1]]


def _phone(dice: _Dice) -> str:
    return f"{dice.pick(['', '0', '+91'])}{dice.below(10**10):010}"


def _pincode(dice: _Dice) -> str:
    return f"{dice.below(10**6):06}"


def _lately(dice: _Dice) -> str:
    return _moment(dice.below(_DAYS * _DAY))


def _long_ago(dice: _Dice) -> str:
    return _moment(dice.below(_DAYS * _DAY) - dice.below(5 * 365 * _DAY))


def _moment(seconds: int) -> str:
    return str(_START + timedelta(seconds=seconds))
