"""An executed notebook → one HTML page that needs no network and no script."""

import html
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import nbformat
from bs4 import BeautifulSoup
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from nbconvert.filters import ansi2html, markdown2html_mistune

from foundation.errors import visible
from foundation.report.cells import drawing

_TEMPLATES = Path(__file__).parent / "template"
# What may be wider than a screen is reached by keyboard, too.
_SCROLL = {"class": "scroll", "role": "group", "aria-label": "Table", "tabindex": "0"}
_NUMBER = re.compile(r"\s*(?:[-+]?[0-9][0-9,.]*(?:e[-+]?[0-9]+)?\s?%?|nan|NaN|<NA>|–)?\s*")


class _Part(NamedTuple):
    """One cell: what it shows, and its code."""

    html: str
    code: str
    first: bool  # the title and the text below it


def render(template: str, **values: Any) -> str:
    """A page from one of the templates; every value is escaped."""
    environment = Environment(loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined)
    environment.filters["visible"] = visible
    style = Markup((_TEMPLATES / "style.css").read_text(encoding="utf-8"))  # noqa: S704  # our own file
    return environment.get_template(template).render(style=style, version=version("foundation"), **values)


def make_page(notebook: Path, page: Path, *, run_id: str, name: str, failure: str | None) -> str:
    """Write the page of an executed notebook and return its title; *failure* says why it did not run to its end."""
    cells = nbformat.read(notebook, as_version=4).cells  # type: ignore[no-untyped-call]
    parts = _merged([_part(cell, first=i == 0) for i, cell in enumerate(cells) if not _is_marker(cell)])
    shown = "".join(part.html for part in parts)
    found = re.search(r"<h1[^>]*>(.*?)</h1>", shown, flags=re.S)
    title = html.unescape(found[1]) if found else name
    contents = [(id_, html.unescape(text)) for id_, text in re.findall(r'<h2 id="([^"]*)">(.*?)</h2>', shown)]
    page.write_text(
        render(
            "notebook.html.j2", title=f"{title} {name}", name=name, run_id=run_id,
            parts=[p._replace(html=_safe(p.html)) for p in parts], contents=contents, failure=failure,
            took=_safe(drawing(cells)),
        ),
        encoding="utf-8",
    )  # fmt: skip
    return title


def without_measured(page: str) -> str:
    """A page without what is measured, time and memory: all the rest is the same bytes each time."""
    return re.sub(r"<!--measured-->.*?<!--/measured-->", "", page, flags=re.S)


def _merged(parts: list[_Part]) -> list[_Part]:
    """The code of cells that show nothing goes with the cell after them: one click for it, not three."""
    merged: list[_Part] = []
    for part in parts:
        before = merged[-1] if merged else None
        if before and part.code and before.code and not before.html:
            merged[-1] = part._replace(code=f"{before.code}\n\n{part.code}")
        else:
            merged.append(part)
    return merged


def _safe(shown: str) -> Any:
    return Markup(shown)  # noqa: S704  # made below from escaped values


def _is_marker(cell: Any) -> bool:
    """Whether papermill put the cell there to point at an error; the page has a banner for that."""
    return any(tag.startswith("papermill-error") for tag in cell.metadata.get("tags", []))


def _part(cell: Any, *, first: bool) -> _Part:
    if cell.cell_type == "markdown":
        shown = re.sub(r'<a class="anchor-link".*?</a>', "", markdown2html_mistune(cell.source))
        return _Part(shown, "", first)
    if cell.cell_type != "code":
        return _Part("", "", first)
    shown = "".join(map(_output, cell.outputs))
    if shown and "nbval-ignore-output" in cell.metadata.get("tags", []):
        shown = f"<!--measured-->{shown}<!--/measured-->"
    return _Part(shown, cell.source, first)


def _output(output: Any) -> str:
    """What one output of a cell shows, the richest form of it first."""
    if output.output_type == "stream":
        return f"<pre>{_ansi(output.text)}</pre>"
    if output.output_type == "error":
        return f"<pre>{_ansi(chr(10).join(output.traceback))}</pre>"
    data = output.data
    if "image/svg+xml" in data:
        return f'<div class="plot">{data["image/svg+xml"]}</div>'
    if "text/html" in data:
        return _tables(data["text/html"])
    if "image/png" in data:
        told = html.escape(output.metadata.get("image/png", {}).get("alt", data.get("text/plain", "")))
        return f'<div class="plot"><img alt="{told}" src="data:image/png;base64,{data["image/png"].strip()}"></div>'
    return f"<pre>{html.escape(data.get('text/plain', ''))}</pre>"


def _ansi(text: str) -> str:
    return str(ansi2html(text))  # type: ignore[no-untyped-call]


def _tables(shown: str) -> str:
    """HTML with its tables made readable for all: scopes for the headers, numbers to the right, room to scroll."""
    soup = BeautifulSoup(shown, "html.parser")
    for style in soup.find_all("style"):
        style.decompose()
    for table in soup.find_all("table"):
        table.attrs = {"class": "dataframe"}
        rows = [row.find_all(["td", "th"]) for row in table.select("tbody tr")]
        is_text = [not all(_NUMBER.fullmatch(row[i].get_text()) for row in rows) for i in range(_width(rows))]
        for row in [*(r.find_all("th") for r in table.select("thead tr")), *rows]:
            for i, cell in enumerate(row):
                if i < len(is_text) and is_text[i]:
                    cell["class"] = "text"
        _name_headers(table)
        table.wrap(soup.new_tag("div", attrs=_SCROLL))
    return str(soup)


def _width(rows: list[Any]) -> int:
    return min(map(len, rows), default=0)


def _name_headers(table: Any) -> None:
    for cell in table.find_all("th"):
        if not cell.get_text(strip=True):
            cell.name = "td"  # a header without a name is none
        cell.attrs = {k: v for k, v in cell.attrs.items() if k == "class"}
        if cell.name == "th":
            cell["scope"] = "col" if cell.find_parent("thead") else "row"
    for row in table.find_all("tr"):
        row.attrs = {}
