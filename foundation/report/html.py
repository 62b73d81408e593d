"""An executed notebook → one HTML page that needs no network and no script."""

import html
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from bs4 import BeautifulSoup
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from nbconvert.filters import ansi2html, markdown2html_mistune

from foundation.errors import visible
from foundation.report.parameters import read_notebook

_TEMPLATES = Path(__file__).parent / "template"
# What may be wider than a screen is reached by keyboard, too.
_SCROLL = {"class": "scroll", "role": "group", "aria-label": "Table", "tabindex": "0"}
_NUMBER = re.compile(r"\s*(?:[-+]?[0-9][0-9,.]*(?:e[-+]?[0-9]+)?\s?%?|nan|NaN|<NA>|–)?\s*")


class _Part(NamedTuple):
    """One cell: what it shows, and its code."""

    html: Markup
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
    cells = read_notebook(notebook).cells
    parts = _merged([_part(cell, first=i == 0) for i, cell in enumerate(cells) if not _is_marker(cell)])
    shown = "".join(part.html for part in parts)
    heading = re.search(r"<h1[^>]*>(.*?)</h1>", shown, flags=re.S)
    title = html.unescape(heading[1]) if heading else name
    contents = [(id_, html.unescape(text)) for id_, text in re.findall(r'<h2 id="([^"]*)">(.*?)</h2>', shown)]
    costs = [cell.metadata.get("foundation", {}) for cell in cells if cell.cell_type == "code"]
    begun = [cost | {"number": number} for number, cost in enumerate(costs, 1) if "seconds" in cost]
    rendered = render(
        "notebook.html.j2", title=f"{title} {name}", name=name, run_id=run_id, parts=parts, contents=contents,
        failure=failure, cells=len(costs), begun=begun,
    )  # fmt: skip
    page.write_text(rendered, encoding="utf-8")
    return title


def without_measured(page: str) -> str:
    """A page without what is measured, time and memory: all the rest is the same bytes each time."""
    return re.sub(r"<!--measured-->.*?<!--/measured-->", "", page, flags=re.S)


def _is_marker(cell: Any) -> bool:
    """Whether papermill put the cell there to point at an error; the page has a banner for that."""
    return any(tag.startswith("papermill-error") for tag in cell.metadata.get("tags", []))


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


def _part(cell: Any, *, first: bool) -> _Part:
    shown, code = "", ""
    if cell.cell_type == "markdown":
        shown = re.sub(r'<a class="anchor-link".*?</a>', "", markdown2html_mistune(cell.source))
    elif cell.cell_type == "code":
        shown, code = "".join(map(_output, cell.outputs)), cell.source
        if shown and "nbval-ignore-output" in cell.metadata.get("tags", []):
            shown = f"<!--measured-->{shown}<!--/measured-->"
    return _Part(Markup(shown), code, first)  # noqa: S704  # made of escaped values


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
        return _readable(data["text/html"])
    if "image/png" in data:
        alt = html.escape(output.metadata.get("image/png", {}).get("alt", data.get("text/plain", "")))
        return f'<div class="plot"><img alt="{alt}" src="data:image/png;base64,{data["image/png"].strip()}"></div>'
    return f"<pre>{html.escape(data.get('text/plain', ''))}</pre>"


def _ansi(text: str) -> str:
    return str(ansi2html(text))  # type: ignore[no-untyped-call]


def _readable(shown: str) -> str:
    """HTML with its tables made readable for all: scopes for the headers, numbers to the right, room to scroll."""
    soup = BeautifulSoup(shown, "html.parser")
    for style in soup.find_all("style"):
        style.decompose()
    for table in soup.find_all("table"):
        table.attrs = {"class": "dataframe"}
        _align(table)
        _name_headers(table)
        table.wrap(soup.new_tag("div", attrs=_SCROLL))
    return str(soup)


def _align(table: Any) -> None:
    """Mark the columns that are not all numbers as text, which stands to the left."""
    rows = [row.find_all(["td", "th"]) for row in table.select("tbody tr")]
    is_text = [not all(_NUMBER.fullmatch(cell.get_text()) for cell in column) for column in zip(*rows, strict=False)]
    for row in [*(row.find_all("th") for row in table.select("thead tr")), *rows]:
        for cell, marked in zip(row, is_text, strict=False):
            if marked:
                cell["class"] = "text"


def _name_headers(table: Any) -> None:
    for cell in table.find_all("th"):
        if not cell.get_text(strip=True):
            cell.name = "td"  # a header without a name is none
        cell.attrs = {k: v for k, v in cell.attrs.items() if k == "class"}
        if cell.name == "th":
            cell["scope"] = "col" if cell.find_parent("thead") else "row"
    for row in table.find_all("tr"):
        row.attrs = {}
