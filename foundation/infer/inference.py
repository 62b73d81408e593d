"""Propose a source for an unknown file: the types, the key, the references that all of its records allow."""

import glob
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from foundation.errors import Code, SourceError, visible
from foundation.infer.codegen import Field, Proposal, identifier, names_of, singular
from foundation.infer.columns import WORDS, ColumnScan, TypeFit, scan_columns
from foundation.reader import COMMAS, Dialect, Reader, unpacked_beside
from foundation.schema import COLUMN_TYPES, Source, paths_of, reason, with_parents

_BATCH = 1_000  # records of a file beside it, read at a time
_OFTEN = 5  # records for each word of a vocabulary, at least; below four times as many it is doubtful
# The name of a column may say: any text can come; these digits are no number; a record is known by it.
_OPEN = re.compile("names?|city|state|country|street|address|company|notes?|comments?|text|title|description|route")
_CODE = re.compile("phone|mobile|fax|pin(code)?|zip(code)?|postcode|plz|code|iban|account|ean|isbn")
_KEYS = re.compile("id|key|uuid|guid"), re.compile("no|nr|num|number|code|sku|ref")


def draft(path: Path, known: Sequence[Source], dialect: Dialect = COMMAS) -> Proposal:
    """Read the whole file and propose its source; files of *known* sources in the same folder may be referred to.

    Raises SourceError when it is no CSV file in this dialect with a header of different names, or has no records.
    """
    file_name = (unpacked_beside(path) or path).name
    table = identifier(Path(file_name).stem, "records")
    with scan_columns(path, dialect) as scan:
        fields = [Field(scan.column(at), name) for at, name in enumerate(names_of(scan.header))]
        for field in fields:
            _propose_type(field)
        doubts = []
        if first := scan.first_damaged:
            unread = (
                f"{scan.damaged:,} records cannot be read and will be refused; the first is record {first.record:,}"
            )
            doubts.append(f"{unread}: {first.errors[0].message}")
        doubts += _propose_key(scan, fields)
        parents = [s for s in known if len(s.keys) == 1 and table not in with_parents(known, [s.name])]
        for field in fields:
            if not field.is_key and field.facts.filled and field.kind in ("int", "str"):
                _propose_reference(scan, field, path.parent, [s for s in parents if _is_named_after(field, s)])
    written = {"files": "" if file_name == f"{table}.csv" else glob.escape(file_name)}
    written |= {option: value for option, value in asdict(dialect).items() if value != getattr(COMMAS, option)}
    return Proposal(path.name, scan.records, table, fields, doubts, known, written)


def _propose_type(field: Field) -> None:
    """Propose the type of a column."""
    facts, words = field.facts, words_of(field.facts.header)
    fit = facts.fitting()
    if facts.filled == facts.blank:
        field.doubts.append("nothing, or white space, in every record: its type is not known")
    elif fit and fit.kind is int and (facts.zeros or any(map(_CODE.fullmatch, words))):
        why = f"of which {facts.zeros:,} begin with 0" if facts.zeros else "but by its name no number"
        field.evidence.append(f"digits, {why}: text")
    elif fit:
        _declare(field, fit)
    elif facts.formatted:
        _declare(field, facts.formatted[0])
        field.evidence.append(f"written like {visible(facts.words[0][0], 40)}")
        others = {fit.format.pattern: None for fit in facts.formatted[1:] if fit.format and fit.format != field.form}
        if others:
            field.doubts.append(f"every value would fit a Format of {' or '.join(others)} too")
    elif doubt := _doubt_of_text(field):
        field.doubts.append(doubt)
    elif facts.distinct <= min(WORDS, facts.filled // _OFTEN) and facts.longest <= 40 and not facts.has_lines:
        _propose_vocabulary(field, is_open=any(map(_OPEN.fullmatch, words)))


def words_of(name: str) -> list[str]:
    """The words and numbers in a name such as `orderId` or `Order ID`."""
    return re.findall(r"[^\W\d_]+|\d+", re.sub(r"(?<=[a-z\d])(?=[A-Z])", "_", name).lower())


def _declare(field: Field, fit: TypeFit) -> None:
    field.kind, field.form = fit.kind.__name__, fit.format
    field.evidence.append(f"always {fit.min}" if fit.min == fit.max else f"{fit.min} to {fit.max}")
    if fit.kind is float and not fit.format and not fit.has_fractions:
        field.doubts.append("whole numbers, but written with a decimal point: export them as such")


def _doubt_of_text(field: Field) -> str:
    """Why a text could be meant as another type, if it could."""
    facts = field.facts
    for fit in facts.plain:
        if fit.misfits <= facts.filled // 2 and not fit.is_given_up:
            few = ", ".join(repr(visible(sample, 20)) for sample in fit.samples[:3])
            plural = COLUMN_TYPES[fit.kind].plural
            return f"{plural} but for {fit.misfits:,} of {facts.filled:,} values, such as {few}"
    first, last = facts.words[0][0], facts.words[-1][0]
    why = reason(first)
    return f"'{visible(first, 40)}': {why}" if why and why == reason(last) else ""


def _propose_vocabulary(field: Field, *, is_open: bool) -> None:
    facts = field.facts
    listed = ", ".join(f"{visible(text, 30)} {count:,}" for text, count in facts.words[:6])
    field.evidence.append(listed + (f" and {facts.distinct - 6} more" if facts.distinct > 6 else ""))
    if facts.distinct == 1:
        field.doubts.append("the same in every record that has it")
    elif is_open:
        field.evidence.append("by its name, other words may come: no Literal")
    else:
        field.vocabulary = tuple(text for text, _ in facts.words)
        if len({text.lower() for text in field.vocabulary}) < len(field.vocabulary):
            field.doubts.append("words that differ only in upper and lower case")
        if facts.filled < 4 * _OFTEN * facts.distinct:
            field.doubts.append(f"{facts.filled:,} values are few to know all words by")


def _propose_key(scan: ColumnScan, fields: list[Field]) -> Iterator[str]:
    """Mark the columns by which a record is known; if not all records are, the nearest to it, and say so."""
    unique = [field for field in fields if field.facts.distinct == scan.records and not field.is_optional]
    for field in unique:
        field.evidence.insert(0, "all different")
    candidates = [f for f in unique if f.kind != "datetime" or f.form or scan.has_unique_times(f.facts.at)]
    if keys := sorted(candidates, key=_rank)[:1]:
        keys[0].evidence[0] = f"{scan.records:,} values, all different: the key"
        keys[0].doubts += _doubts_of_key(fields, keys[0])
    elif pair := scan.pair([field.facts for field in fields if field.kind != "float" and not field.is_optional]):
        keys = [field for field in fields if field.facts in pair]
        for field, other in zip(keys, reversed(keys), strict=True):
            field.evidence.insert(0, f"with {other.name} different in every record: the key")
    else:
        keys = [min(fields, key=lambda field: (field.is_optional, _is_last_resort(field), -field.facts.distinct))]
        yield (
            f"no column is different in every record: with the key {keys[0].name}, "
            f"{scan.records - keys[0].facts.distinct:,} of {scan.records:,} records will be refused. "
            "No two columns are different together either, as far as was tried: add one, such as a number"
        )
    for key in keys:
        # As texts they are different; a key takes no format.
        if _is_last_resort(key) or (len(keys) > 1 and key.kind == "datetime"):
            key.kind, key.form = "str", None
        key.is_key = True


def _is_last_resort(field: Field) -> bool:
    """Whether it is a key only where there is no other."""
    return field.form is not None or field.kind == "float" or field.facts.has_lines


def _rank(field: Field) -> tuple[bool, int, int]:
    """The least is the best key: by its type, by the last word of its name, by its place."""
    last = (words_of(field.facts.header) or [""])[-1]
    named = next((i for i, words in enumerate(_KEYS) if words.fullmatch(last)), len(_KEYS))
    return _is_last_resort(field), named, field.facts.at


def _doubts_of_key(fields: list[Field], key: Field) -> Iterator[str]:
    if _rank(key)[1] == len(_KEYS):
        yield "the key only for being all different: by its name it is none"
    for field in fields:
        if _rank(field)[:2] < _rank(key)[:2] and field.facts.distinct > 0.95 * field.facts.records:
            few = field.facts.records - field.facts.distinct
            yield f"named like the key is {field.name}, of which {few:,} of {field.facts.records:,} are not new"


def _propose_reference(scan: ColumnScan, field: Field, folder: Path, parents: Sequence[Source]) -> None:
    """Look whether a column holds keys of one of the *parents*, whose files are in the same *folder*."""
    for parent in parents:
        key = parent.columns[parent.position(parent.key)]
        if (field.kind == "int") != (key.kind is int):
            continue
        try:
            count, first = scan.missing_from(_keys_of(parent, folder), field.facts.at)
        except SourceError as error:
            if error.code != Code.NOT_FOUND or ":" not in parent.home:  # nobody asked for those of this package
                field.doubts.append(f"named after {parent.name}, whose keys could not be looked at: {error}")
            continue
        if not count:
            field.parent, field.vocabulary = parent.name, ()
            field.doubts.clear()  # they were about words
            field.evidence.append(f"all are keys of {parent.pattern}")
            return
        if count <= field.facts.filled // 2:
            told = f"{count:,} of {field.facts.filled:,} values are no keys of {parent.pattern}, such as"
            field.doubts.append(f"{told} '{visible(first, 40)}', so it is not declared to refer to it")


def _keys_of(parent: Source, folder: Path) -> Iterator[Sequence[str]]:
    """The keys of all records of a source, as rows of one column."""
    column = parent.columns[parent.position(parent.key)]
    layout = replace(parent, columns=(column,), references={}, indexes=(), checks={}).layout
    for path in paths_of(parent, folder):
        with Reader(path, layout) as reader:
            while chunk := reader.chunk(_BATCH):
                yield from chunk.rows


def _is_named_after(field: Field, parent: Source) -> bool:
    """Whether a column is named like `client_id` or `first_client_id`, for clients, or `client`."""
    words, key, table = words_of(field.facts.header), words_of(parent.key), words_of(singular(parent.name))
    endings = [table, [*table, *key], *([key] if len(key) > 1 else [])]
    return any(words[-len(ending) :] == ending for ending in endings)
