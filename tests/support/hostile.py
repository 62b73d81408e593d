"""Texts that do harm where a program takes data for something else; each is legal in a CSV file as it stands.

What would run in a page gives itself away: it names the page `pwned` or puts an element with that id into it.
"""

import csv
from pathlib import Path

from bs4 import BeautifulSoup

import foundation
from tests.support.deliveries import SOUND

SOURCES = {source.name: source for source in foundation.SOURCES}
TEXTS = {
    name: [c.name for c in source.columns if c.kind is str and not c.vocabulary] for name, source in SOURCES.items()
}
REFUSING = {
    name: [c.name for c in source.columns if c.vocabulary or c.kind not in (str, int, float) or c.name == source.key]
    for name, source in SOURCES.items()
}

_RUN = "document.title='pwned'"
_PUT = "document.body.insertAdjacentHTML('beforeend','<p id=pwned>')"

SQL = [
    "'; DROP TABLE orders; --",
    "Robert'); DROP TABLE clients;--",
    "' OR '1'='1",
    '" OR ""="',
    "1; ATTACH DATABASE '/tmp/x.db' AS x; --",
    "' UNION SELECT sql FROM sqlite_schema --",
    "x') ON CONFLICT DO UPDATE SET city = 'gone' --",
    "?1 :name @name $name",
    "%_[a-z]*\\",
]
HTML = [
    f"<script>{_RUN}</script>",
    f"</td></table><script>{_PUT}</script>",
    f"<ScRiPt >{_RUN}</sCrIpT>",
    f"<img src=x onerror={_RUN}>",
    f'"><img src=x onerror="{_PUT}">',
    f"' onmouseover='{_RUN}' autofocus onfocus='{_RUN}' x='",
    f"<svg onload={_RUN}>",
    f"</svg><svg><animate onbegin={_RUN} attributeName=x dur=1s>",
    f'<iframe srcdoc="<script>parent.{_RUN}</script>"></iframe>',
    f'<a href="javascript:{_RUN}">x</a>',
    f'<object data="data:text/html,<script>parent.{_RUN}</script>"></object>',
    "<img src=http://127.0.0.1:9/x.png>",
    "<p id=pwned>here</p>",
    "<style>*{display:none}</style><link rel=stylesheet href=//127.0.0.1:9/x.css>",
    "<meta http-equiv=refresh content='0;url=http://127.0.0.1:9/'><base href=//127.0.0.1:9/>",
    f"<!--><script>{_RUN}</script>-->",
    f"]]><script>{_RUN}</script>",
    f"</title></textarea></style></pre><script>{_RUN}</script>",
    f"<details open ontoggle={_RUN}>",
    f"<math><mtext></mtext><mglyph><style><img src=x onerror={_RUN}>",
    "&lt;script&gt;&#x3c;&amp;&nbsp;&#0;",
    "<form action=http://127.0.0.1:9/><button>Log in</button></form>",
]
MARKDOWN = [
    f"[here](javascript:{_RUN})",
    "![x](http://127.0.0.1:9/x.png)",
    f"<{_RUN}>: # heading\n\n* item\n\n```\ncode",
    "|a|b|\n|-|-|\n|c|d|",
    "[bold red]rich[/bold red] [/nothing] [link=http://127.0.0.1:9/]x[/link] :smile:",
]
MATHS = [
    r"$\href{javascript:alert(1)}{x}$",
    r"$\frac{1$",
    r"\(\unicode{x41}\) \[ x \]",
    r"\input{/etc/passwd}\write18{id}",
    "$5 and $6",
]
FORMULAS = [
    "=1+1",
    "=cmd|' /C calc'!A0",
    '=HYPERLINK("http://127.0.0.1:9/?"&A1,"x")',
    "+1+cmd|' /C calc'!A0",
    "-2+3+cmd|' /C calc'!A0",
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    "'=1+1",
    "''=1+1",
    "+919876543210",
    "007",
    "1E5",
    "2025-01-30",
]
CONTROLS = [
    "\x1b[2J\x1b[1;1Hgone",
    "\x1b]0;pwned\x07title",
    "\x1b]8;;http://127.0.0.1:9/\x1b\\link\x1b]8;;\x1b\\",
    "\x1b[31mred\x1b[0m",
    "\x9b31mC1\x9b0m \x85 \x90q\x9c",
    "a\bb\x7f\x01\x1f\x0b\x0c",
    "good\rbad",
    "\u202egpj.exe",
    "a\u202ab\u202c \u2066c\u2069 \u200e\u200f \u061c",
    "zero\u200bwidth\u200c\u200d\u2060 s\u00adhy",
    "\ufeffBOM in\ufeffside",
    "lines\u2028and\u2029paragraphs",
    "tag\U000e0041\U000e007f \ufff9a\ufffab\ufffb",
]
CODE = [
    "{0.__class__.__init__.__globals__}",
    "{data} {run_id!r:>99} {} {{}} {",
    "%s%n%d %(x)s 100%",
    "${x} $(id) `id` $HOME ~ ; id | cat && id",
    "{{7*7}} {{config}} {% raw %}",
    "{#",
    "{% endraw %}{{ ''.__class__.__mro__ }}",
    "#{7*7} <%= 7*7 %> *{7*7}",
    "__import__('os').system('id')",
    '"; import os; os.abort() #',
    "'; import os; os.abort() #",
    '"""; import os; os.abort()\n"""',
    "'''\nraise SystemExit\n'''",
    "\\",
    '\\"',
    "\\n\\x41\\u0041\\N{DASH}",
    'one\ntwo\r\nthree"',
    "# parameters\nx = 1",
    "%%bash\nid",
    "!id",
    "%run x.py",
]
PATHS = ["../../etc/passwd", "/etc/passwd", "..\\..\\windows\\win.ini", "file:///etc/passwd", "CON", "-rf", "a/b\\c:*?"]
FORMATS = [
    '"',
    "'",
    ",",
    ';"\t|',
    '""","',
    'a"b,c\nd,e',
    '"}],"rows":[{"x":1',
    "\\u0022}\\",
    "</script>null",
    "null",
    "NaN",
    "None",
    "_reject_id,_reasons",
    "W" * 3_000,
    "long word " * 200,
]
UNICODE = [
    "👩‍👩‍👧‍👦🇮🇳🏴󠁧󠁢󠁥󠁮󠁧󠁿",
    "Z̴̢̛a̸͔͝l̷̰̈g̵̱͆o̶͙͐",
    "e\u0301 \u00e9 \u1e9e ﬁ Å Å",
    "مرحبا بالعالم שלום",
    "नमस्ते 你好 ｆｕｌｌ ＝1+1",
    " leading and trailing ",
    "\u00a0\u3000x\u2003",
    "\U0001f4a9\U0010fffd\ue000\ufdd0",
]
HOSTILE = [*SQL, *HTML, *MARKDOWN, *MATHS, *FORMULAS, *CONTROLS, *CODE, *PATHS, *FORMATS, *UNICODE]
FOLDER = "<b onclick=x>{0}';DROP TABLE orders;-- $(id) \x1b[31m\u202e%s"


def write_hostile(folder: Path) -> Path:
    """Each text once in all text columns of a sound record, once more in all columns that refuse it."""
    folder.mkdir(parents=True)
    for turn, (name, sound) in enumerate(SOUND.items()):
        stored = [sound | dict.fromkeys(TEXTS[name], text) for text in HOSTILE]
        refused = [row | dict.fromkeys(REFUSING[name], text) for row, text in zip(stored, HOSTILE, strict=True)]
        refused = refused[15 * turn :] + refused[: 15 * turn]  # pages show the first ones: others for each source
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(sound)
            writer.writerows([key, *list(row.values())[1:]] for key, row in enumerate(stored, 1))
            writer.writerows(row.values() for row in refused)
    return folder


def require_harmless(page: BeautifulSoup) -> None:
    """Assert that nothing in the page runs, leads away or was put there by a value."""
    assert page.find("main"), "Chromium does not show the page"
    assert page.title.get_text() != "pwned"
    assert not page.find_all(id="pwned")
    foreign = [
        "script",
        "iframe",
        "object",
        "embed",
        "link",
        "base",
        "form",
        "button",
        "animate",
        "math",
        "audio",
        "video",
    ]
    assert page.find_all(foreign) == []
    for tag in page.find_all(True):
        assert [name for name in tag.attrs if name.lower().startswith("on")] == [], tag
        links = [str(tag.attrs[name]) for name in ("href", "src", "xlink:href", "action", "data") if name in tag.attrs]
        assert all(link.startswith(("#", "data:image/png", "data:image/svg")) or ":" not in link for link in links), tag
