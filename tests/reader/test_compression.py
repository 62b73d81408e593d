"""Files that are packed, several, or written in another way: loaded as the plain ones are, or refused in words."""

import gzip
import json
import os
import signal
from pathlib import Path
from typing import Annotated

import pytest

import foundation
from foundation import Format, Record
from foundation.cli import main
from foundation.errors import SchemaError, SourceError
from foundation.memory import Watch
from foundation.pipeline.migrate import migrate
from foundation.reader import compression
from foundation.reader.compression import zstd
from foundation.reader.reader import Reader
from foundation.schema.source import Source
from tests.support.inspection import query, snapshot
from tests.support.loading import ingest, tuned
from tests.support.processes import in_child, kill_at

BIG = 100_000  # records: more than is read at a time


def source(**keywords) -> Source:
    class Sale(Record, table="sales", key="sale_id", **keywords):
        sale_id: int
        shop: str
        amount: float

    return Sale.__source__


def text(first: int, last: int, *, mark: str = ",", shop: str = '"Café ""{0}"",\nMünchen; 1"') -> str:
    lines = [mark.join((str(n), shop.format(n), f"{n}.5")) for n in range(first, last + 1)]
    return "\n".join([mark.join(("sale_id", "shop", "amount")), *lines, ""])


def pack_zstd(content: bytes) -> bytes:
    return zstd.compress(content, options={zstd.CompressionParameter.checksum_flag: 1})  # as the command does


PACK = {".gz": gzip.compress, ".zst": pack_zstd}
SALES = source()


def load(data: Path, declared: Source = SALES, ingest=ingest, **more):
    run = ingest(data, data / "x.db", sources=[declared], **more)
    return [(one.status, one.read, one.inserted, one.updated, one.unchanged, one.rejected) for one in run.loads]


def rows(data: Path) -> list[tuple]:
    return query(data / "x.db", "SELECT sale_id, shop, amount FROM sales ORDER BY sale_id")


# Packed.


@pytest.mark.parametrize("ending", PACK)
def test_a_packed_file_is_loaded_as_what_is_in_it(tmp_path, ending):
    content = text(1, 30).encode() + b'31,"x,1\n32,y,2.5\n'
    for name, written in (("plain", content), ("packed", PACK[ending](content))):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"sales.csv{ending if name == 'packed' else ''}").write_bytes(written)

    told = [load(tmp_path / name, chunk_size=7) for name in ("plain", "packed")]
    places = "SELECT record, line, byte_start, byte_end, raw FROM _rejects"
    loads = "SELECT sha256, bytes FROM _loads"

    assert told == [[("complete", 32, 31, 0, 0, 1)]] * 2
    for sql in (places, loads, "SELECT * FROM sales", "SELECT record_end, byte_end, digest FROM _chunks"):
        assert query(tmp_path / "plain" / "x.db", sql) == query(tmp_path / "packed" / "x.db", sql)


@pytest.mark.parametrize("ending", PACK)
def test_a_packed_file_is_skipped_resumed_and_read_on(tmp_path, ending):
    path = tmp_path / f"sales.csv{ending}"
    path.write_bytes(PACK[ending](text(1, 30).encode()))

    assert load(tmp_path, chunk_size=7, is_stopped=lambda: True) == [("stopped", 7, 7, 0, 0, 0)]
    assert load(tmp_path, chunk_size=7) == [("complete", 30, 30, 0, 0, 0)]
    path.write_bytes(PACK[ending](text(1, 12).encode()[:9]) + PACK[ending](text(1, 30).encode()[9:]))
    assert load(tmp_path) == [("skipped", 0, 0, 0, 0, 0)]
    path.write_bytes(path.read_bytes() + PACK[ending](b"31,x,1\n"))
    assert load(tmp_path) == [("complete", 1, 1, 0, 0, 0)]
    path.write_bytes(PACK[ending](text(1, 30, shop="new").encode()))
    assert load(tmp_path) == [("complete", 30, 0, 30, 0, 0)]


def test_a_second_process_reads_packed_files_too(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from foundation import Record\n\n"
        "class Sale(Record, table='sales', key='sale_id', delimiter=';', encoding='cp1252'):\n"
        "    sale_id: int\n    shop: str\n    amount: float\n"
    )
    content = text(1, 3_000, mark=";").replace(";1500.5", ";abc").encode("cp1252") + b'3001;"x;1\n'
    (tmp_path / "sales.csv.gz").write_bytes(gzip.compress(content))

    (declared,) = foundation.load_sources(tmp_path / "mine.py")

    run = load(tmp_path, declared, tuned(worker_bytes=1, worker_wait_s=10))

    assert run == [("complete", 3_001, 2_999, 0, 0, 2)]
    assert query(tmp_path / "x.db", "SELECT raw FROM _rejects ORDER BY record") == [
        '1500;"Café ""1500"",\nMünchen; 1";abc\n'.encode("cp1252"), b'3001;"x;1\n'
    ]  # fmt: skip


BROKEN = {
    "cut off": (lambda packed: packed[: len(packed) // 2], "cut off; copy it again"),
    "damaged": (lambda packed: packed[:200] + bytes(200) + packed[400:], "it cannot be unpacked"),
    "not packed": (lambda packed: text(1, 3).encode(), "it cannot be unpacked"),
    "with something behind": (lambda packed: packed + b"behind", "it cannot be unpacked"),
}


@pytest.mark.parametrize("ending", PACK)
@pytest.mark.parametrize(("spoil", "words"), BROKEN.values(), ids=BROKEN)
def test_a_broken_packed_file_is_refused_before_its_first_record(tmp_path, ending, spoil, words):
    path = tmp_path / f"sales.csv{ending}"
    path.write_bytes(spoil(PACK[ending](text(1, BIG).encode())))

    run = ingest(tmp_path, tmp_path / "x.db", sources=[SALES], chunk_size=7)

    assert [one.status for one in run.loads] == ["refused"]
    assert words in run.loads[0].warnings[0]
    assert str(path) in run.loads[0].warnings[0]
    assert rows(tmp_path) == []
    path.write_bytes(PACK[ending](text(1, 3).encode()))
    assert load(tmp_path) == [("complete", 3, 3, 0, 0, 0)]
    assert query(tmp_path / "x.db", "SELECT DISTINCT status FROM _rejects") == ["waived"]


@pytest.mark.slow
@pytest.mark.parametrize("ending", PACK)
def test_a_bomb_is_refused_and_costs_no_memory(tmp_path, ending):
    zeros = bytes(2**20)
    with (gzip.open if ending == ".gz" else zstd.open)(tmp_path / f"sales.csv{ending}", "wb") as file:
        file.write(b"sale_id,shop,amount\n")
        for _ in range(300):
            file.write(zeros)
    declared = source(max_unpacked=200_000_000)

    with Watch(os.getpid()) as memory:
        before = memory.restart()
        run = ingest(tmp_path, tmp_path / "x.db", sources=[declared])

    assert "more than 200,000,000 bytes when it is unpacked; if that is right" in run.loads[0].warnings[0]
    assert memory.peak - before < 50_000_000
    assert query(tmp_path / "x.db", "SELECT count(*) FROM _chunks") == [0]


def test_a_file_that_gets_shorter_while_it_is_read_is_refused_in_words(tmp_path):
    path = tmp_path / "sales.csv.gz"
    path.write_bytes(gzip.compress(text(1, 200_000).encode(), 1))

    with Reader(path, SALES.layout) as reader, pytest.raises(SourceError, match=r"sales.csv.gz: .*cut off"):
        path.write_bytes(path.read_bytes()[:50_000])
        while reader.chunk(1_000):
            pass


def test_a_packed_file_beside_the_plain_one_is_left_out_and_said_so(tmp_path):
    (tmp_path / "sales.csv").write_text(text(1, 3))
    (tmp_path / "sales.csv.gz").write_bytes(gzip.compress(text(1, 9).encode()))

    run = ingest(tmp_path, tmp_path / "x.db", sources=[SALES])

    assert [(one.read, one.warnings) for one in run.loads] == [
        (3, ["sales.csv.gz is there, too, and left out: keep one of them"])
    ]


def test_without_the_package_zstd_is_refused_in_words(tmp_path, monkeypatch):
    monkeypatch.setattr(compression, "zstd", None)
    (tmp_path / "sales.csv.zst").write_bytes(zstd.compress(text(1, 3).encode()))

    with pytest.raises(SourceError, match=r"install foundation\[zstd\]; or pack the file with gzip"):
        Reader(tmp_path / "sales.csv.zst", SALES.layout)


# Several files.


@pytest.fixture
def months(tmp_path) -> Path:
    (tmp_path / "sales").mkdir()
    for month in (1, 2, 3):
        (tmp_path / "sales" / f"2025-0{month}.csv").write_text(text(10 * month, 10 * month + 4))
    (tmp_path / "sales" / "2025-04.csv.gz").write_bytes(gzip.compress(text(40, 44).encode()))
    (tmp_path / "sales" / "readme.txt").write_text("no CSV")
    return tmp_path


MONTHS = source(files="sales/*.csv")


def test_each_file_is_a_load_of_its_own_in_the_order_of_the_names(months):
    run = ingest(months, months / "x.db", sources=[MONTHS])

    assert [Path(one.path).name for one in run.loads] == ["2025-01.csv", "2025-02.csv", "2025-03.csv", "2025-04.csv.gz"]
    assert [(one.status, one.inserted) for one in run.loads] == [("complete", 5)] * 4
    assert run.called[3] == "sales, 2025-04.csv.gz"
    assert load(months, MONTHS) == [("skipped", 0, 0, 0, 0, 0)] * 4
    (months / "sales" / "2025-05.csv").write_text(text(50, 54))
    assert load(months, MONTHS)[4] == ("complete", 5, 5, 0, 0, 0)


def test_a_key_twice_in_one_file_is_refused_and_in_a_later_one_updates(months):
    (months / "sales" / "2025-03.csv").write_text(text(30, 31) + text(31, 31).partition("\n")[2] + "10,later,1\n")

    assert load(months, MONTHS) == [
        *[("complete", 5, 5, 0, 0, 0)] * 2, ("complete", 4, 2, 1, 0, 1), ("complete", 5, 5, 0, 0, 0)
    ]  # fmt: skip
    assert query(months / "x.db", "SELECT code FROM _errors") == ["duplicate_key"]
    assert rows(months)[0] == (10, "later", 1.0)


def test_of_a_folder_the_broken_file_is_refused_and_the_rest_is_loaded(months, capsys):
    (months / "sales" / "2025-02.csv").write_bytes(b"PK\x03\x04")
    (months / "sales" / "2025-04.csv.gz").write_bytes(b"no gzip at all")
    (months / "sales" / "2025-05.csv").mkdir()
    (months / "mine.py").write_text(
        "from foundation import Record\n\n"
        "class Sale(Record, table='sales', key='sale_id', files='sales/*.csv'):\n"
        "    sale_id: int\n    shop: str\n    amount: float\n"
    )

    status = main(["ingest", str(months), "--db", str(months / "x.db"), "--sources", str(months / "mine.py"), "--json"])

    loads = json.loads(capsys.readouterr().out)["loads"]
    assert status == 1
    assert [one["status"] for one in loads] == ["complete", "refused", "complete", "refused", "refused"]
    assert [one["warnings"][0].partition(": ")[2][:26] for one in loads if one["warnings"]] == [
        "no CSV text but a zip arch", "it cannot be unpacked, Not", "a folder, not a regular fi"
    ]  # fmt: skip
    assert len(rows(months)) == 10


def test_a_pattern_without_a_file_is_refused_in_words(tmp_path):
    with pytest.raises(SourceError, match=r"none of sales/\*\.csv is there, but nothing at all"):
        ingest(tmp_path, tmp_path / "x.db", sources=[MONTHS])


@pytest.mark.parametrize("files", ["/etc/*.csv", "../*.csv", "a/../../b.csv"])
def test_a_pattern_stays_in_the_folder(files):
    with pytest.raises(SchemaError, match="leads out of the delivery's folder; name files in it"):
        source(files=files)


def test_a_pattern_is_one_that_can_be_looked_for():
    with pytest.raises(SchemaError, match=r"files='a\*\*/b.csv': `\*\*` stands for folders, alone between two `/`"):
        source(files="a**/b.csv")


@pytest.mark.parametrize("call", range(1, 9))
def test_killed_at_any_chunk_several_packed_files_come_to_the_same(months, call):
    ingest(months, months / "whole.db", sources=[MONTHS], chunk_size=3)

    def die() -> None:
        kill_at("save_chunk", call)
        load(months, MONTHS, chunk_size=3)

    assert in_child(die) == -signal.SIGKILL
    load(months, MONTHS, chunk_size=3)

    assert snapshot(months / "x.db") == snapshot(months / "whole.db")


def test_a_load_of_several_files_goes_on_where_it_stopped(months):
    asked = iter([False, False, True])

    assert load(months, MONTHS, chunk_size=3, is_stopped=lambda: next(asked)) == [
        ("complete", 5, 5, 0, 0, 0), ("stopped", 3, 3, 0, 0, 0)
    ]  # fmt: skip
    assert load(months, MONTHS, chunk_size=3) == [
        ("skipped", 0, 0, 0, 0, 0), *[("complete", 5, 5, 0, 0, 0)] * 3
    ]  # fmt: skip
    assert len(rows(months)) == 20


# Other separators and encodings.

DIALECTS = [(";", "utf-8"), ("\t", "cp1252"), ("|", "latin-1"), (";", "mac_roman"), (",", "utf-8-sig"), ("^", "utf-8")]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize(("mark", "encoding"), DIALECTS)
def test_a_declared_dialect_is_read_as_it_stands(tmp_path, mark, encoding, newline):
    content = text(1, 40, mark=mark).replace(f"{mark}20.5", f"{mark}abc").replace("\n", newline)
    damaged = [f'41{mark}"x{mark}1', f"42{mark}y{mark}2.5", f"43{mark}y", f"44{mark}y{mark}z{mark}"]
    content += newline.join([*damaged, ""])
    (tmp_path / "sales.csv").write_bytes(content.encode(encoding))
    declared = source(delimiter=mark, encoding=encoding)

    told = load(tmp_path, declared, chunk_size=7)

    assert told == [("complete", 44, 40, 0, 0, 4)]
    assert rows(tmp_path)[0] == (1, f'Café "1",{newline}München; 1', 1.5)
    written = (tmp_path / "sales.csv").read_bytes()
    found = query(
        tmp_path / "x.db",
        "SELECT code, raw, byte_start, byte_end FROM _rejects JOIN _errors USING (reject_id) ORDER BY reject_id",
    )
    assert [code for code, *_ in found] == ["float_parsing", "unclosed_quote", "too_few_fields", "too_many_fields"]
    assert found[0][1].startswith(f'20{mark}"Caf'.encode())
    assert all(written[start:end] == raw for _, raw, start, end in found)


@pytest.mark.parametrize("encoding", ["shift_jis", "gbk", "big5", "euc_kr", "cp1251", "cp1253"])
def test_encodings_of_other_scripts_are_read(tmp_path, encoding):
    shop = {"cp1251": "Пётр, \n", "cp1253": "Αθήνα", "euc_kr": "서울, \n"}.get(encoding, "表十 東京, \n")
    (tmp_path / "sales.csv").write_bytes(text(1, 20, mark=";", shop=f'"{shop}{{0}}"').encode(encoding))

    assert load(tmp_path, source(delimiter=";", encoding=encoding)) == [("complete", 20, 20, 0, 0, 0)]
    assert rows(tmp_path)[0][1] == f"{shop}1"


def test_bytes_that_are_no_text_in_the_encoding_cost_their_record_alone(tmp_path):
    (tmp_path / "sales.csv").write_bytes(b"sale_id,shop,amount\n1,\xe4,1\n2,\x81,2\n3,\xfc,3\n")

    assert load(tmp_path, source(encoding="cp1252")) == [("complete", 3, 2, 0, 0, 1)]
    assert query(tmp_path / "x.db", 'SELECT code, "column", value, message FROM _errors') == [
        ("invalid_encoding", "shop", "\\x81", "byte 1 of the field is not CP1252: character maps to <undefined>")
    ]


OTHERS = {
    "commas for semicolons": (
        {"delimiter": ";"}, text(1, 3).encode(),
        "separated by ',', export the file with ';', or declare delimiter=','",
    ),
    "semicolons for commas": (
        {}, text(1, 3, mark=";").encode(), "separated by ';', export the file with commas, or declare delimiter=';'"
    ),
    "UTF-8 for cp1252": (
        {"encoding": "cp1252"}, text(1, 3).encode(),
        "the text is UTF-8, where encoding='cp1252' is declared; declare 'utf-8', or convert the file",
    ),
    "UTF-16": ({"encoding": "cp1252"}, text(1, 3).encode("utf-16"), "UTF-16 text; export it as UTF-8"),
}  # fmt: skip


@pytest.mark.parametrize(("keywords", "content", "words"), OTHERS.values(), ids=OTHERS)
def test_a_file_in_another_dialect_than_declared_is_refused_in_words(tmp_path, keywords, content, words):
    (tmp_path / "sales.csv").write_bytes(content)

    with pytest.raises(SourceError) as refusal:
        Reader(tmp_path / "sales.csv", source(**keywords).layout)

    assert words in str(refusal.value)


def test_another_encoding_than_utf_8_is_reported_once(tmp_path):
    (tmp_path / "sales.csv").write_bytes(text(1, 30).encode("cp1252"))

    run = ingest(tmp_path, tmp_path / "x.db", sources=[SALES])

    assert run.loads[0].rejected == 30
    assert run.loads[0].warnings == [
        "30 of 30 records are no utf-8 text, such as 'Caf\\xe9 \"1\",\\nM\\xfcnchen; 1': export the file as UTF-8, or "
        "declare its encoding, such as encoding='cp1252'"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"delimiter": ";;"}, "Sale: delimiter=';;': name one character such as ';'"),
        ({"delimiter": '"'}, "name one character"),
        ({"delimiter": "\x1f"}, "name one character"),
        ({"encoding": "utf-16"}, "Sale: encoding='utf-16': its files cannot be read byte by byte"),
        ({"encoding": "utf-7"}, "cannot be read byte by byte"),
        ({"encoding": "iso2022_jp"}, "cannot be read byte by byte"),
        ({"encoding": "shift_jis", "delimiter": "|"}, "cannot be read byte by byte"),
        ({"encoding": "cp037"}, "cannot be read byte by byte"),
        ({"encoding": "nonsense"}, "Python knows no such text encoding"),
        ({"encoding": "hex"}, "Python knows no such text encoding"),
    ],
)
def test_a_dialect_that_cannot_be_read_is_refused_when_it_is_declared(keywords, words):
    with pytest.raises(SchemaError) as mistake:
        source(**keywords)

    assert words in str(mistake.value)


def test_another_dialect_is_another_declaration():
    assert len({source(**k).fingerprint for k in ({}, {"delimiter": ";"}, {"encoding": "cp1252"})}) == 3
    assert source(files="x/*.csv", max_unpacked=1).fingerprint == SALES.fingerprint


def test_rejects_of_a_dialect_are_explained_exported_corrected_and_released(tmp_path, capsys):
    (tmp_path / "mine.py").write_text(
        "from foundation import Record\n\n"
        "german = {'delimiter': ';', 'encoding': 'cp1252'}\n\n"
        "class Shop(Record, table='shops', key='shop', **german):\n    shop: str\n    since: int\n\n"
        "class Sale(Record, table='sales', key='sale_id', references={'shop': 'shops'}, **german):\n"
        "    sale_id: int\n    shop: str\n    amount: float\n"
    )
    (tmp_path / "shops.csv").write_bytes("shop;since\nKöln;2001\nGießen;20x\n".encode("cp1252"))
    (tmp_path / "sales.csv").write_bytes("sale_id;shop;amount\n1;Köln;1.5\n2;Gießen;2,5\n3;Gießen;3\n".encode("cp1252"))
    declared, db = ["--sources", str(tmp_path / "mine.py")], ["--db", str(tmp_path / "x.db")]
    assert main(["ingest", str(tmp_path), *db, *declared]) == 0

    main(["explain", "sales", "1", *db, *declared, "--json"])
    main(["rejects", *db, *declared, "--export", str(tmp_path / "out")])
    told = capsys.readouterr().out
    corrected = tmp_path / "out" / "shops.csv"
    corrected.write_text(corrected.read_text("utf-8").replace("20x", "2010"), "utf-8")
    assert main(["repair", str(tmp_path / "out"), *db, *declared]) == 1  # 2,5 is no number still

    assert '"raw": "1;Köln;1.5\\n"' in told
    assert query(tmp_path / "x.db", "SELECT sale_id, shop FROM sales") == [(1, "Köln"), (3, "Gießen")]


def test_rows_that_a_migration_rejects_are_kept_in_the_dialect_and_come_back(tmp_path):
    def declare(kind: object) -> Source:
        class Sale(Record, table="sales", key="sale_id", delimiter=";", encoding="cp1252"):
            sale_id: int
            shop: kind

        return Sale.__source__

    db = tmp_path / "x.db"
    (tmp_path / "sales.csv").write_bytes("sale_id;shop\n1;Köln, Süd\n2;5\n".encode("cp1252"))
    load(tmp_path, declare(str))

    migrate(db, [declare(int)])
    assert query(db, "SELECT raw FROM _rejects") == ["1;Köln, Süd\r\n".encode("cp1252")]
    migrate(db, [declare(str)])

    assert query(db, "SELECT sale_id, shop FROM sales ORDER BY 1") == [(1, "Köln, Süd"), (2, "5")]


def test_german_decimals_between_semicolons(tmp_path):
    class Sale(Record, table="sales", key="sale_id", delimiter=";", encoding="cp1252"):
        sale_id: int
        shop: str
        amount: Annotated[float, Format("1.234,56")]

    (tmp_path / "sales.csv").write_bytes("sale_id;shop;amount\n1;Köln;1.876,15\n2;Fürth;0,5\n".encode("cp1252"))

    assert load(tmp_path, Sale.__source__) == [("complete", 2, 2, 0, 0, 0)]
    assert rows(tmp_path) == [(1, "Köln", 1876.15), (2, "Fürth", 0.5)]
