"""A drafted source accepts the whole file that it came from, and says what it stands on."""

import gzip
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import foundation
from foundation.cli import main
from foundation.delivery.sample import write_sample
from foundation.infer.inference import draft
from foundation.schema.record import Record, load_sources
from foundation.schema.source import Source
from tests.support.inspection import query
from tests.support.loading import ingest


def write(folder: Path, name: str, header: str, *lines: object) -> Path:
    path = folder / f"{name}.csv"
    path.write_text("".join(f"{line}\n" for line in (header, *lines)), "utf-8", newline="")
    return path


def drafted(path: Path, known=()) -> tuple[Source, str]:
    """The source that is proposed for a file, and the text of the proposal."""
    text = draft(path, known).text
    written = path.with_name("my_sources.py")
    written.write_text(text, "utf-8")
    return next(s for s in load_sources(written) if s.name == path.stem), text


def shape(source: Source) -> dict[str, object]:
    return {c.name: (c.kind, c.required, c.vocabulary, c.format.pattern if c.format else "") for c in source.columns}


def rejected(path: Path) -> int:
    """How many records of the file the source in `my_sources.py` beside it refuses."""
    sources = load_sources(path.with_name("my_sources.py"))
    run = ingest(path.parent, path.with_suffix(".db"), sources=sources, only=[path.stem])
    assert [load.read for load in run.loads if load.status == "complete"] != []
    return sum(load.rejected for load in run.loads)


@pytest.fixture(scope="module")
def sample(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sample")
    write_sample(folder, orders=400, faults=0.0, seed=7)
    return folder


@pytest.mark.parametrize("declared", foundation.SOURCES, ids=lambda source: source.name)
def test_of_the_delivery_it_proposes_what_is_declared(declared, sample):
    proposed, _ = drafted(sample / declared.file_name, foundation.SOURCES)

    assert (proposed.key, proposed.references) == (declared.key, declared.references)
    assert shape(proposed) == shape(declared)


@pytest.mark.parametrize("declared", foundation.SOURCES, ids=lambda source: source.name)
def test_of_the_delivery_it_accepts_every_record(declared, sample, tmp_path):
    for name in foundation.with_parents(foundation.SOURCES, [declared.name]):
        (tmp_path / f"{name}.csv").write_bytes((sample / f"{name}.csv").read_bytes())
    drafted(tmp_path / declared.file_name, foundation.SOURCES)
    sources = load_sources(tmp_path / "my_sources.py")

    run = ingest(tmp_path, tmp_path / "all.db", sources=sources)

    assert {load.source for load in run.loads} == set(foundation.with_parents(foundation.SOURCES, [declared.name]))
    assert sum(load.rejected for load in run.loads) == 0


def days(count: int, pattern: str) -> list[str]:
    return [(datetime(2025, 1, 1, 8) + timedelta(days=day, minutes=7 * day)).strftime(pattern) for day in range(count)]


TEXT, INT, FLOAT = (str, True, (), ""), (int, True, (), ""), (float, True, (), "")
FIELDS = {
    "german": (
        "Nr,Betrag,Datum,Konto",
        [f'{n},"{n}.{n + 100},50",{day},{n:06}' for n, day in enumerate(days(60, "%d.%m.%Y"), 1)],
        {
            "Nr": INT, "Betrag": (float, True, (), "1.234,56"), "Datum": (date, True, (), "%d.%m.%Y"), "Konto": TEXT,
        },
    ),
    "american": (
        "ride_id,started,ended,fare",
        [f'{n},{day},{day.split()[0]} 9:05 PM,"{n},000.25"' for n, day in enumerate(days(60, "%m/%d/%Y %H:%M"), 1)],
        {
            "ride_id": INT, "started": (datetime, True, (), "%m/%d/%Y %H:%M"),
            "ended": (datetime, True, (), "%m/%d/%Y %I:%M %p"), "fare": (float, True, (), "1,234.56"),
        },
    ),
    "hospital": (  # empty columns, some and all; white space only
        "id,ward,left,remark",
        [f"{n},{'AB'[n % 2]},{'2025-01-30' if n % 3 else ''}, " for n in range(100)],
        {"id": INT, "ward": (str, True, ("A", "B"), ""), "left": (date, False, (), ""), "remark": (str, False, (), "")},
    ),
    "library": (  # leading zeros, text with line breaks and quotes
        "isbn,title,copies",
        [f'{n:013},"{n}, said ""he""\nand went",{n % 7}' for n in range(50)],
        {"isbn": TEXT, "title": TEXT, "copies": INT},
    ),
    "members": (
        "member_no,active,paid",
        [f"{n},{'True' if n % 2 else 'FALSE'},{['yes', 'No', 'no'][n % 3]}" for n in range(90)],
        {"member_no": INT, "active": (str, True, ("FALSE", "True"), ""), "paid": (str, True, ("No", "no", "yes"), "")},
    ),
    "stars": (  # beyond 64 bits, scientific, more digits than a float holds
        "id,atoms,brightness,position",
        [f"{n},{10**22 + n},{n}.5e-3,{n}.12345678901234567891" for n in range(50)],
        {"id": INT, "atoms": TEXT, "brightness": FLOAT, "position": TEXT},
    ),
    "pandas": (
        "id,parent,Net €,Net £,class,date,model_no",
        [f"{n},{n // 2}.0,{n}.25,,A{n},2025-01-{1 + n % 28:02},x{n}" for n in range(50)],
        {
            "id": INT, "parent": FLOAT, "net": FLOAT, "net_4": (str, False, (), ""), "class_": TEXT,
            "date": (date, True, (), ""), "model_no_": TEXT,
        },
    ),
    "zones": (
        "id,at,mixed",
        [f"{n},2025-01-30T08:15:{n % 60:02}Z,{['3/7/2025', '2025-07-03'][n % 2]}" for n in range(50)],
        {"id": INT, "at": TEXT, "mixed": TEXT},
    ),
    "rates": ("day,rate", [f"{day},{n}.5" for n, day in enumerate(days(30, "%Y-%m-%d"))], {
        "day": (date, True, (), ""), "rate": FLOAT,
    }),
    "forms": (
        "when,id,short",
        [f"{day},{n},{day[:-3]}" for n, day in enumerate(days(40, "%Y/%m/%d %H:%M:%S"))],
        {
            "when": (datetime, True, (), "%Y/%m/%d %H:%M:%S"), "id": INT,
            "short": (datetime, True, (), "%Y/%m/%d %H:%M"),
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FIELDS)
def test_of_another_field_it_proposes_what_the_file_holds_and_accepts_all_of_it(name, tmp_path):
    header, lines, wanted = FIELDS[name]
    path = write(tmp_path, name, header, *lines)

    source, _ = drafted(path)

    assert shape(source) == wanted
    assert rejected(path) == 0


@pytest.mark.parametrize(
    ("lines", "doubt"),
    [
        (["n", *range(9), "n/a"] * 5, "whole numbers but for"),
        (["n", *(f"{n}.0" for n in range(9))], "whole numbers, but written with a decimal point"),
        (["n", "03/07/2025", "04/07/2025"], "every value would fit a Format of %m/%d/%Y too"),
        (["n", "1,234", "5,678"], "every value would fit a Format of 1.234,56 or 1,234.56"),
        (["n", *["True", "TRUE"] * 50], "words that differ only in upper and lower case"),
        (["n", *["a", "b"] * 9], "18 values are few to know all words by"),
        (["n", *["a"] * 50], "the same in every record"),
        (["n", "2025-01-30T08:15:00Z"], "with fractions of a second or a time zone"),
        (["n", *[""] * 5], "its type is not known"),
    ],
)  # fmt: skip
def test_what_is_not_sure_is_said(lines, doubt, tmp_path):
    path = write(tmp_path, "things", f"id,{lines[0]}", *(f'{i},"{line}"' for i, line in enumerate(lines[1:])))

    _, text = drafted(path)

    doubts = [line for line in " ".join(text.split()).split("# doubt: ")[1:] if doubt in line.split("n: ")[0]]
    assert len(doubts) == 1


def test_a_key_over_two_columns_is_proposed_and_loads_the_file(tmp_path, capsys):
    path = write(tmp_path, "shifts", "store,day", *(f"{s},2025-01-{d:02}" for s in range(1, 9) for d in range(1, 29)))

    status = main(["draft", str(path)])

    text = capsys.readouterr().out
    assert status == 0
    assert 'key=("store", "day"),' in text
    assert "with day different in every record: the key" in text
    own = tmp_path / "own.py"
    own.write_text(text)
    assert main(["check", str(tmp_path), "--sources", str(own)]) == 0


def test_a_column_that_is_named_like_a_key_but_has_a_value_twice_is_named_beside_the_key(tmp_path):
    path = write(tmp_path, "orders", "order_id,phone", *(f"{n},{n + 900}" for n in range(50)), "49,999")

    source, text = drafted(path)

    assert source.key == "phone"
    assert "# doubt: the key only for being all different: by its name it is none" in text
    assert "# doubt: named like the key is order_id, of which 1 of 51 are not new" in text


def test_one_moment_in_two_ways_is_one_key(tmp_path):
    path = write(tmp_path, "readings", "at,level", "2025-01-30 08:15:00,2.5", "2025-01-30T08:15:00,2.5")

    proposal = draft(path, ())

    assert not proposal.is_whole


def test_records_that_are_damaged_are_counted(tmp_path):
    path = write(tmp_path, "things", "id,n", "1,a", '2,"b"c', "3,d,e", "4,f")

    proposal = draft(path, ())

    assert not proposal.is_whole
    assert "# doubt: 2 records cannot be read and will be refused; the first is record 2: a quote" in proposal.text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("id;name\n1;a\n", "separated by ';', export the file with commas, or draft it with --delimiter ';'"),
        ('"id";"name"\n1;a\n', "separated by ';', export the file with commas"),
        ("id,name,name\n1,a,b\n", "the header has name more than once; keep one of them"),
        ("id,name\n", "no record that can be read"),
        ("", "the file is empty"),
    ],
)
def test_a_file_that_no_source_could_load_is_refused_in_words(content, message, tmp_path, capsys):
    (tmp_path / "things.csv").write_text(content)

    assert main(["draft", str(tmp_path / "things.csv")]) == 2

    told = capsys.readouterr()
    assert message in told.err
    assert told.out == ""


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_a_file_in_a_dialect_of_its_own_is_proposed_with_it(ending, tmp_path, capsys):
    german = "Nr;Ort;Betrag\n" + "".join(f"{n};Köln, Süd;{n}.{n + 100},50\n" for n in range(1, 40))
    content = german.encode("cp1252")
    path = tmp_path / f"Umsätze [2025].csv{ending}"
    path.write_bytes(gzip.compress(content) if ending else content)

    assert main(["draft", str(path), "--delimiter", ";", "--encoding", "cp1252"]) == 0

    (tmp_path / "my_sources.py").write_text(capsys.readouterr().out, "utf-8")
    (source,) = load_sources(tmp_path / "my_sources.py")
    assert shape(source)["Betrag"] == (float, True, (), "1.234,56")
    run = ingest(tmp_path, tmp_path / "x.db", sources=[source])
    assert [(load.status, load.read, load.rejected) for load in run.loads] == [("complete", 39, 0)]
    assert query(tmp_path / "x.db", f"SELECT DISTINCT Ort FROM {source.name}") == ["Köln, Süd"]


def test_tabs_may_be_named_on_the_command_line(tmp_path, capsys):
    (tmp_path / "things.csv").write_text("id\tname\n1\ta\n2\tb\n")

    assert main(["draft", str(tmp_path / "things.csv"), "--delimiter", "\\t"]) == 0
    assert r'delimiter="\t",' in capsys.readouterr().out


def test_a_reference_to_keys_in_several_packed_files_is_proposed(tmp_path):
    for month in (1, 2):
        lines = "".join(f"{n}\n" for n in range(50 * month, 50 * month + 50))
        (tmp_path / f"shop_{month}.csv.gz").write_bytes(gzip.compress(f"shop_id\n{lines}".encode()))

    class Shop(Record, table="shops", key="shop_id", files="shop_*.csv"):
        shop_id: int

    path = write(tmp_path, "sales", "sale_id,shop_id", *(f"{n},{n}" for n in range(50, 150)))

    assert 'references={"shop_id": "shops"}' in draft(path, [Shop.__source__]).text


def test_a_reference_is_proposed_only_if_all_values_are_keys(tmp_path):
    write(tmp_path, "stations", "code,place", "AX,Ax", "BX,Bx", "CX,Cx")
    drafted(tmp_path / "stations.csv")
    known = load_sources(tmp_path / "my_sources.py")
    lines = [f"{n},{'AB'[n % 2]}X,{'CQ'[n > 8]}X,a{n}" for n in range(10)]
    path = write(tmp_path, "trips", "id,from_station,to_station,station_name", *lines)

    text = draft(path, known).text

    assert 'references={"from_station": "stations"}' in text
    assert "1 of 10 values are no keys of stations.csv, such as 'QX'" in text
    assert f"# It refers to classes of {tmp_path / 'my_sources.py'}: put it there, behind them." in " ".join(
        text.split()
    )


def test_a_proposal_that_refers_loads_with_what_it_refers_to(tmp_path):
    write(tmp_path, "stations", "code,place", "AX,Ax", "BX,Bx")
    first = draft(tmp_path / "stations.csv", ()).text
    (tmp_path / "my_sources.py").write_text(first)
    path = write(tmp_path, "trips", "id,station", *(f"{n},{'AB'[n % 2]}X" for n in range(10)))
    second = draft(path, load_sources(tmp_path / "my_sources.py")).text
    (tmp_path / "my_sources.py").write_text(first + second)

    run = ingest(tmp_path, tmp_path / "all.db", sources=load_sources(tmp_path / "my_sources.py"))

    assert [(load.source, load.inserted) for load in run.loads] == [("stations", 2), ("trips", 10)]
    assert query(tmp_path / "all.db", 'SELECT "table" FROM pragma_foreign_key_list(?)', "trips") == ["stations"]


NASTY = '"""\\\n#\u202e\x1b[2J{x}' + "'" * 3


def test_names_and_values_of_a_file_do_no_harm_in_the_text(tmp_path):
    quoted = '"' + NASTY.replace('"', '""') + '"'
    lines = [f"{n},{quoted if n % 2 else 'b'},{n}" for n in range(50)]
    path = write(tmp_path, 'a"""b', f"id,class,{quoted}", *lines)

    text = draft(path, ()).text

    assert all(line.isprintable() for line in text.split("\n"))
    (tmp_path / "a_b.csv").write_bytes(path.read_bytes())
    source, _ = drafted(tmp_path / "a_b.csv")
    assert [c.header for c in source.columns] == ["id", "class", NASTY]
    assert source.columns[1].vocabulary == ()  # it has a line break
    assert rejected(tmp_path / "a_b.csv") == 0


def test_words_with_quotes_and_control_characters_are_a_vocabulary_still(tmp_path):
    words = ['say "no"', "it's", "both ' and \"", "tab\there", "back\\slash", "\u202eevil"]
    lines = [f'{n},"{words[n % 6].replace(chr(34), chr(34) * 2)}"' for n in range(150)]
    path = write(tmp_path, "things", "id,word", *lines)

    source, text = drafted(path)

    assert set(source.columns[1].vocabulary) == set(words)
    assert "\u202e" not in text
    assert rejected(path) == 0


TEXTS = st.sampled_from(
    ["", " ", "0", "-0", "7", "-3", "007", "1.50", "1.5", "1e3", "1,234", "1.234,56", "12.0", "9" * 30, "2025-02-28",
     "2025-02-30", "2025-01-30 08:15:00", "2025-01-30T08:15:00", "3/7/2025", "03/07/2025", "13/7/2025",
     "3/7/2025 8:48", "yes", "Yes", "NA", "two\nlines", 'a "quote"', "é", "\u202e", "=1+1"]
)  # fmt: skip
COLUMNS = st.lists(st.lists(TEXTS, min_size=1, max_size=4), min_size=1, max_size=5)
HEADERS = st.sampled_from(["date", "id", "class", "json", "Net €", "model_x", "", "order_id", "city", "int", "Field"])


@settings(max_examples=60, deadline=None)
@given(COLUMNS, st.integers(1, 40), st.lists(HEADERS, min_size=6, max_size=6, unique=True), st.booleans())
def test_whatever_a_file_holds_what_is_proposed_loads_and_accepts_it(
    tmp_path_factory, columns, count, headers, has_key
):
    folder = tmp_path_factory.mktemp("any")
    rows = [[column[n * (at + 1) % len(column)] for at, column in enumerate(columns)] for n in range(count)]
    rows = [[str(n), *row] for n, row in enumerate(rows)] if has_key else rows
    lines = [",".join('"' + text.replace('"', '""') + '"' for text in row) for row in [headers[: len(rows[0])], *rows]]
    path = write(folder, "things", *lines)

    proposal = draft(path, ())
    (folder / "my_sources.py").write_text(proposal.text, "utf-8")

    assert (rejected(path) == 0) == proposal.is_whole
    assert proposal.is_whole or not has_key
