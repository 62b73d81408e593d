"""What is written: texts that a column must refuse or keep, and what becomes of fields and records that are damaged."""

from collections.abc import Callable

_BAD_WHOLE = [
    "1_000", "12.0", "12.5", " 12", "12 ", "\t12", "+12", "١٢", "1２", "1e3", "0x1F", "1,000", "--1", "12-", "−5",
    "12\n", "²", "NA", "None", "true", "\u200b12", "twelve",
]  # fmt: skip
_BAD_AMOUNT = [
    "nan", "NaN", "inf", "-inf", "Infinity", "12,5", "1_0.5", " 12.5", "12.5 ", "12.5\n", "١٢٫٥", "1e", "0x1p3",
    "1.2.3", "₹12", "1 000", "--1", "NA",
    "1e999", "-1e309", "1e-400", "123456789.123456789",  # a float does not hold them
]  # fmt: skip
_BAD_MOMENT = [
    "31/12/2025 10:00:00", "12/31/2025 10:00:00", "3/7/2025 8:48", "2025-1-30 08:15:00", "2025-01-30 8:15:00",
    "30-01-2025 08:15:00", "2025-01-30", "2025-01-30 08:15", "2025-01-30 08:15:00.5", "2025-01-30 08:15:00Z",
    "2025-01-30T08:15:00+05:30", "2025-01-30t08:15:00", "2025-01-30  08:15:00", " 2025-01-30 08:15:00",
    "2025-01-30 08:15:00 ", "2025-01-30 08:15:00\n", "2025-01-30_08:15:00", "2025/01/30 08:15:00", "20250130",
    "20250130T081500", "2025", "0", "-1", "1735689600", "1735689600000", "1735689600.5", "45687.34",
    "2025-01-30 24:00:00", "2025-01-30 08:60:00", "2025-01-30 08:15:60", "2025-02-30 10:00:00", "2025-02-29 10:00:00",
    "1900-02-29 10:00:00", "2025-13-01 10:00:00", "2025-00-10 10:00:00", "2025-04-31 10:00:00", "0000-01-01 00:00:00",
    "12025-01-30 08:15:00", "-025-01-30 08:15:00", "٢٠٢٥-01-30 08:15:00", "now", "NA", "2025-01-30 08:15 AM",
    "30 Jan 2025 08:15:00",
]  # fmt: skip
_WHITE = [" ", "\t ", "\n", "\r\n", "\v\f", "\x85", "\xa0", "\u2028", "\u3000", " \u2003\xa0 "]
_TEXTS = [
    "NA", "NULL", "None", "nan", "-", " a", "a ", "\ta\t", "a\xa0", "\u200b", "a\vb\fc", "a\x1cb\x1d\x1e", "a\x85b",
    "a\u2028b\u2029", "\ufeffa", "\ufffd", "a\rb", "a\r\nb", "\n\n\na", "\x01\x07\x1b[31m\x7f", '"', '""', '","',
    'say "hi"', '"a"', '\\"a\\', "a\\", "'; DROP TABLE orders; --", "<script>alert(1)</script>", "{0} %s ${a} {{b}}",
    '=HYPERLINK("http://a","b")', "José", "Jose\u0301", "🚚🇮🇳", "\u202ea", "007", "1e3", "a;b|c\td",
    "1,2,3\n4,5,6\n", 'order_id,client_id\n"1","2"\n', "a" * 70_000,
]  # fmt: skip

# What stands in a field of a role, and the code for it; none: it is legal.
FIELDS: list[tuple[str, str, list[str]]] = [
    ("whole", "int_parsing", _BAD_WHOLE),
    ("positive", "greater_than", ["0", "-0", "000", "-5", "-9223372036854775808"]),
    ("whole", "less_than_equal", ["9223372036854775808", "9" * 30]),
    ("whole", "int_parsing_size", ["1" * 5_000]),
    ("capacity", "greater_than_equal", ["-1"]),
    ("rating", "greater_than_equal", ["0", "-3"]),
    ("rating", "less_than_equal", ["6", "10"]),
    ("amount", "greater_than_equal", ["-0.01", "-1", "-1e-300"]),
    ("amount", "float_parsing", _BAD_AMOUNT),
    ("required moment", "datetime_parsing", _BAD_MOMENT),
    ("optional moment", "datetime_parsing", [*_BAD_MOMENT[::6], " "]),
    ("required text", "missing", ["", *_WHITE]),
    *((role, "missing", [""]) for role in ("key", "reference", "capacity", "rating", "amount")),
    *((role, "missing", [""]) for role in ("required moment", "required word")),
    ("required word", "literal_error", ["{lower}", "{swapped}", " {word}", "{word} ", "{word}\n", "NA", "0"]),
    ("optional word", "literal_error", ["{lower}", "{swapped}", " {word}", "{word}\xa0", "NA", "none", " "]),
    ("key", "", ["0000000912", "9223372036854775807"]),
    ("reference", "", ["0001002"]),
    ("capacity", "", ["0", "-0", "9223372036854775807"]),
    ("rating", "", ["1", "5", "03"]),
    ("amount", "", ["0", "12", "0.1", "1e3", "1E-5", "1e308", "00.50", "123456789.12345"]),
    ("required moment", "", ["2025-01-30T08:15:00", "2024-02-29 23:59:59", "2000-02-29T00:00:00", "0001-01-01 00:00:00",
                             "9999-12-31 23:59:59"]),
    ("optional moment", "", ["", "2024-02-29T00:00:00"]),
    ("optional word", "", [""]),
    ("optional text", "", ["", *_WHITE]),
    ("text", "", _TEXTS),
]  # fmt: skip

# What a value becomes, whatever its column is, and the codes for it; bytes that are no UTF-8 stand as surrogates.
_UTF8 = ["\udc80", "\udcc0\udcaf", "\udced\udca0\udc80", "\udce2\udc82", "\udce9", "\udcf5\udc80\udc80\udc80", "\udcff"]
FORMS: list[tuple[str, list[str]]] = [
    ("", [  # stray_quote or unclosed_quote: `damage_of` tells
        '"{v}', '{v}"', '{head}"{tail}', '{head}""{tail}', '"{v}"x', '"{v}" ', '"{v}"""x"', 'x"{v}"', ' "{v}"',
        '\ufeff"{v}"', '“{v}"', '{head}"{tail}, a"', '"a "{v}" b"', '"a "{v}", b"', '"{v}", b"', '"a ""{v}" b"',
        '"a \\"{v}\\" b"', '""{v}"', '"{v}""', '{v}, b"', '{v}\nb"', '{v}\n\nb c\nd, e"', '"{v}, b', '"{v}\nb',
        '"{v}\n\nb c\nd, e', '"{v}"\nb"',
    ]),
    ("too_many_fields", ["{v}, b", "{v},", '"{v}",""', "{v}" + "," * 100]),
    ("bare_carriage_return", ["{head}\r{tail}", "\r{v}", "{v}\r", '"{v}"\r', "{head}\r\r{tail}"]),
    ("nul_byte", ["{head}\0{tail}", "\0{v}", "{v}\0\0", '"{head}\0\n{tail}"', '"{v}, \0"']),
    ("invalid_utf8", [*("{head}" + bad + "{tail}" for bad in _UTF8), "{v}\udcf0\udc9f\udc98"]),
    ("invalid_utf8", ['"{head}\n\udce9, {tail}"']),
    ("invalid_utf8 nul_byte", ["{head}\udce9\0{tail}"]),
]  # fmt: skip

# What becomes of the fields of a record, and the code for it.
LISTS: list[tuple[str, str, Callable[[list[bytes]], list[bytes]]]] = [
    ("too_few_fields", "the last is lacking", lambda f: f[:-1]),
    ("too_few_fields", "the second is lacking", lambda f: f[:1] + f[2:]),
    ("too_few_fields", "two are there", lambda f: f[:2]),
    ("too_few_fields", "one is there", lambda f: [f[0] or b"x"]),
    ("too_few_fields", "separators alone", lambda f: [b""] * (len(f) - 1)),
    ("too_few_fields", "blanks alone", lambda f: [b"  "]),
    ("too_few_fields", "quotes alone", lambda f: [b'""']),
    ("too_few_fields", "the whole record in quotes", lambda f: [b'"' + b",".join(f).replace(b'"', b'""') + b'"']),
    ("too_many_fields", "an empty one behind", lambda f: [*f, b""]),
    ("too_many_fields", "a text behind", lambda f: [*f, b'"a\nb"']),
    ("too_many_fields", "an empty one between", lambda f: [*f[:2], b"", *f[2:]]),
    ("too_many_fields", "an empty one before", lambda f: [b"", *f]),
    ("too_many_fields", "many behind", lambda f: f + [b"x"] * 100),
    ("too_many_fields", "separators alone", lambda f: [b""] * (len(f) + 1)),
    ("too_many_fields", "two records in a line", lambda f: f + f),
    ("bare_carriage_return", "before the line end", lambda f: [*f[:-1], f[-1] + b"\r\r"]),
    ("bare_carriage_return", "alone in a line", lambda f: [b"\r\r"]),
    ("too_few_fields", "cut off behind a separator", lambda f: [*f[:2], b""]),
    ("too_few_fields", "cut off in a field", lambda f: [*f[:-2], f[-2].strip(b'"')[:2]]),
    ("unclosed_quote", "cut off in a quoted field", lambda f: [*f[:2], b'"a text, b']),
    ("unclosed_quote", "cut off behind a line break in quotes", lambda f: [*f[:-1], b'"a text\n']),
    ("unclosed_quote", "cut off behind the quote of the last field", lambda f: [*f[:-1], b'"']),
]
