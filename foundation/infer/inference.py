"""Propose a source for an unknown file: the types, the key, the references that all of its records allow."""

import glob
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple

from foundation.errors import SourceError, visible
from foundation.infer.codegen import Field, Proposal, identifier, names_of, singular
from foundation.infer.columns import WORDS, Reading, Survey
from foundation.reader.compression import unpacked_beside
from foundation.reader.dialect import COMMAS, Dialect
from foundation.reader.reader import Reader
from foundation.schema.diagnosis import reason
from foundation.schema.files import paths_of
from foundation.schema.source import Source, with_parents
from foundation.schema.types import COLUMN_TYPES

_BATCH = 1_000  # records of a file beside it, read at a time
_OFTEN = 5  # records for each word of a vocabulary, at least; below four times as many it is doubtful
# The name of a column may say: any text can come; these digits are no number; a record is known by it.
_OPEN = re.compile(
    "names?|city|state|town|country|region|street|address|company|notes?|comments?|text|title|remarks?|description|route"
)
_CODE = re.compile(
    "phone|telephone|tel|mobile|fax|pin(code)?|zip(code)?|post(al|code)|plz|code|iban|account|ean|isbn|gtin"
)
_KEYS = re.compile("id|key|uuid|guid"), re.compile("no|nr|num|number|code|sku|ref")


class Draft(NamedTuple):
    """A proposal as Python text; `is_whole` says whether it accepts every record of the file it came from."""

    text: str
    is_whole: bool


def draft(path: Path, known: Sequence[Source], dialect: Dialect = COMMAS) -> Draft:
    """Read the whole file and propose its source; files of *known* sources in the same folder may be referred to.

    Raises SourceError when it is no CSV file in this dialect with a header of different names, or has no records.
    """
    name = (unpacked_beside(path) or path).name
    with closing(Survey(path, dialect)) as survey:
        table = identifier(Path(name).stem, "records")
        fields = [Field(survey.column(at), name) for at, name in enumerate(names_of(survey.header))]
        for one in fields:
            _decide(one)
        doubts = list(_doubts(survey))
        is_known_by_key = _choose_key(survey, fields, doubts)
        parents = [s for s in known if len(s.keys) == 1 and table not in with_parents(known, [s.name])]
        for one in fields:
            if not one.is_key and one.facts.filled and one.kind in ("int", "str"):
                _refer(survey, one, path, [s for s in parents if _is_named_after(one, s)])
    files = "" if name == f"{table}.csv" else glob.escape(name)
    written = {"files": files} | {n: v for n, v in asdict(dialect).items() if v != getattr(COMMAS, n)}
    proposal = Proposal(path.name, survey.records, table, fields, doubts, known, written)
    return Draft(proposal.text(), is_known_by_key and not survey.damaged)


def _doubts(survey: Survey) -> Iterator[str]:
    """What is to be said of the file as a whole."""
    if first := survey.first_damaged:
        yield (
            f"{survey.damaged:,} records cannot be read and will be refused; the first is record {first.record:,}: "
            + first.errors[0].message
        )


def words_of(name: str) -> list[str]:
    """The words and numbers in a name such as `orderId` or `Order ID`."""
    return re.findall(r"[^\W\d_]+|\d+", re.sub(r"(?<=[a-z\d])(?=[A-Z])", "_", name).lower())


def _decide(one: Field) -> None:
    """Settle the type of a column."""
    facts, words = one.facts, words_of(one.facts.header)
    reading = facts.fitting()
    if facts.filled == facts.blank:
        one.doubts.append("nothing, or white space, in every record: its type is not known")
    elif reading and reading.kind is int and (facts.zeros or any(map(_CODE.fullmatch, words))):
        why = f"of which {facts.zeros:,} begin with 0" if facts.zeros else "but by its name no number"
        one.evidence.append(f"digits, {why}: text")
    elif reading:
        _declare(one, reading)
    elif facts.formatted:
        _declare(one, facts.formatted[0])
        one.evidence.append(f"written like {visible(facts.words[0][0], 40)}")
        others = {r.format.pattern: None for r in facts.formatted[1:] if r.format and r.format != one.form}
        if others:
            one.doubts.append(f"every value would fit a Format of {' or '.join(others)} too")
    else:
        _decide_text(one, words)


def _declare(one: Field, reading: Reading) -> None:
    one.kind, one.form = reading.kind.__name__, reading.format
    is_one = reading.least == reading.greatest
    one.evidence.append(f"always {reading.least}" if is_one else f"{reading.least} to {reading.greatest}")
    if reading.kind is float and not reading.format and not reading.has_fractions:
        one.doubts.append("whole numbers, but written with a decimal point: export them as such")


def _decide_text(one: Field, words: list[str]) -> None:
    """Settle whether a text is one of a few words."""
    facts = one.facts
    for reading in facts.plain:
        if reading.misfits <= facts.filled // 2 and reading.unlike <= WORDS:
            few = ", ".join(repr(visible(sample, 20)) for sample in reading.samples[:3])
            plural = COLUMN_TYPES[reading.kind].plural
            one.doubts.append(f"{plural} but for {reading.misfits:,} of {facts.filled:,} values, such as {few}")
            return
    found = [text for text, _ in facts.words]
    if (why := reason(found[0])) and why == reason(found[-1]):
        one.doubts.append(f"'{visible(found[0], 40)}': {why}")
    elif facts.distinct <= min(WORDS, facts.filled // _OFTEN) and facts.longest <= 40 and not facts.has_lines:
        _decide_words(one, found, is_open=any(map(_OPEN.fullmatch, words)))


def _decide_words(one: Field, found: list[str], *, is_open: bool) -> None:
    facts = one.facts
    listed = ", ".join(f"{visible(text, 30)} {count:,}" for text, count in facts.words[:6])
    one.evidence.append(listed + (f" and {facts.distinct - 6} more" if facts.distinct > 6 else ""))
    if facts.distinct == 1:
        one.doubts.append("the same in every record that has it")
    elif is_open:
        one.evidence.append("by its name, other words may come: no Literal")
    else:
        one.vocabulary = tuple(found)
        if len({text.lower() for text in found}) < len(found):
            one.doubts.append("words that differ only in upper and lower case")
        if facts.filled < 4 * _OFTEN * facts.distinct:
            one.doubts.append(f"{facts.filled:,} values are few to know all words by")


def _choose_key(survey: Survey, fields: list[Field], doubts: list[str]) -> bool:
    """Mark the column by which a record is known; without one the nearest to it, and say so and return False."""
    unique = [one for one in fields if one.facts.is_unique and not one.is_optional]
    for one in unique:
        one.evidence.insert(0, "all different")
    candidates = [
        one for one in unique if one.kind != "datetime" or one.form or survey.moments(one.facts.at) == survey.records
    ]
    if candidates:
        keys = [min(candidates, key=_rank)]
        keys[0].evidence[0] = f"{survey.records:,} values, all different: the key"
        keys[0].doubts += _doubts_of_key(survey, fields, keys[0])
    elif pair := survey.pair([one.facts for one in fields if one.kind != "float" and not one.is_optional]):
        keys = [one for one in fields if one.facts in pair]
        for one, other in zip(keys, reversed(keys), strict=True):
            one.evidence.insert(0, f"with {other.name} different in every record: the key")
    else:
        keys = [min(fields, key=lambda one: (one.is_optional, _is_late(one), -one.facts.distinct))]
        doubts.append(_keyless(survey, keys[0]))
    for key in keys:
        # As texts they are different; a key takes no format.
        if _is_late(key) or (len(keys) > 1 and key.kind == "datetime"):
            key.kind, key.form = "str", None
        key.is_key = True
    return bool(candidates) or len(keys) > 1


def _is_late(one: Field) -> bool:
    """Whether it is a key only where there is no other."""
    return one.form is not None or one.kind == "float" or one.facts.has_lines


def _rank(one: Field) -> tuple[bool, int, int]:
    """The least is the best key: by its type, by the last word of its name, by its place."""
    last = (words_of(one.facts.header) or [""])[-1]
    named = next((i for i, words in enumerate(_KEYS) if words.fullmatch(last)), len(_KEYS))
    return _is_late(one), named, one.facts.at


def _doubts_of_key(survey: Survey, fields: list[Field], key: Field) -> Iterator[str]:
    if _rank(key)[1] == len(_KEYS):
        yield "the key only for being all different: by its name it is none"
    for one in fields:
        if _rank(one)[:2] < _rank(key)[:2] and one.facts.distinct * 20 > 19 * survey.records:
            few = survey.records - one.facts.distinct
            yield f"named like the key is {one.name}, of which {few:,} of {survey.records:,} are not new"


def _keyless(survey: Survey, key: Field) -> str:
    return (
        f"no column is different in every record: with the key {key.name}, "
        f"{survey.records - key.facts.distinct:,} of {survey.records:,} records will be refused. "
        "No two columns are different together either, as far as was tried: add one, such as a number"
    )


def _refer(survey: Survey, one: Field, path: Path, parents: Sequence[Source]) -> None:
    """Look whether a column holds keys of one of the *parents*, whose files are beside this one."""
    for parent in parents:
        key = parent.columns[parent.position(parent.key)]
        if (one.kind == "int") != (key.kind is int):
            continue
        alone = replace(parent, columns=(key,), references={}, indexes=(), checks={})
        try:
            with ExitStack() as opened:
                readers = [opened.enter_context(Reader(p, alone.layout)) for p in paths_of(parent, path.parent)]
                count, first = survey.strangers(one.facts.at, _rows(readers))
        except SourceError as error:
            if error.code != "not_found" or ":" not in parent.home:  # nobody asked for those of this package
                one.doubts.append(f"named after {parent.name}, whose keys could not be looked at: {error}")
            continue
        if not count:
            one.parent, one.vocabulary = parent.name, ()
            one.doubts.clear()  # they were about words
            one.evidence.append(f"all are keys of {parent.pattern}")
            return
        if count <= one.facts.filled // 2:
            told = f"{count:,} of {one.facts.filled:,} values are no keys of {parent.pattern}, such as"
            one.doubts.append(f"{told} '{visible(first, 40)}', so it is not declared to refer to it")


def _rows(readers: Sequence[Reader]) -> Iterator[Sequence[str]]:
    for reader in readers:
        while chunk := reader.chunk(_BATCH):
            yield from chunk.rows


def _is_named_after(one: Field, parent: Source) -> bool:
    """Whether a column is named like `client_id` or `first_client_id`, for clients, or `client`."""
    words, key, table = words_of(one.facts.header), words_of(parent.key), words_of(singular(parent.name))
    endings = [table, [*table, *key], *([key] if len(key) > 1 else [])]
    return any(words[-len(ending) :] == ending for ending in endings)
