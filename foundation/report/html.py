"""The pages of a run, which need no network and no script: of each notebook, its index, the index of all runs."""

import html
import re
from collections.abc import Iterable
from functools import cache
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any

from bs4 import BeautifulSoup
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from nbconvert.filters import ansi2html, markdown2html_mistune

from foundation.errors import visible
from foundation.memory import parse_bytes
from foundation.query import Database
from foundation.report.parameters import read_notebook
from foundation.report.result import Report, read_report
from foundation.stats import attention, broken_checks, reasons
from foundation.store import COUNTS

# What may be wider than a screen is reached by keyboard, too.
_SCROLL = {"class": "scroll", "role": "group", "aria-label": "Table", "tabindex": "0"}
_NUMBER = re.compile(r"\s*(?:[-+]?[0-9][0-9,.]*(?:e[-+]?[0-9]+)?\s?%?|nan|NaN|<NA>|–)?\s*")


@cache
def _environment() -> Environment:
    templates = FileSystemLoader(Path(__file__).parent / "template")
    environment = Environment(loader=templates, autoescape=True, undefined=StrictUndefined)
    environment.filters |= {"visible": visible, "ansi": ansi2html, "markdown": _markdown, "readable": _readable}
    environment.globals["version"] = version("foundation")
    return environment


def render(template: str, **values: Any) -> str:
    """A page, or a part of one, from one of the templates; every value is escaped."""
    return _environment().get_template(template).render(**values)


def make_page(notebook: Path, page: Path, *, run_id: str, name: str, failure: str | None) -> str:
    """Write the page of an executed notebook and return its title; *failure* says why it did not run to its end."""
    # papermill points at an error by cells of its own; the page has a banner for that.
    cells = [c for c in read_notebook(notebook).cells if "papermill-error-cell-tag" not in c.metadata.get("tags", [])]
    parts = _parts(cells)
    shown = "".join(part["html"] for part in parts)
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


def write_index(report: Report, database: Database, loads: list[dict[str, Any]], memory_limit: str) -> None:
    """Write the index of a run that made these *loads*, and its `run.json`; *memory_limit* is that of the loads."""
    points = attention(database, report.run_id)
    report.attention = len(points)
    overviews_first = sorted(report.pages, key=lambda page: bool(page.source))
    index = render(
        "run.html.j2", title=f"Run {report.run_id}", **report.facts() | {"pages": report.pages, "attention": points},
        groups=[(title, list(group)) for title, group in groupby(overviews_first, lambda page: page.title)],
        loads=loads, reasons=reasons(database, run_id=report.run_id), checks=broken_checks(database, loads),
        workers=database.workers(load["load_id"] for load in loads), counts=COUNTS, budget=parse_bytes(memory_limit),
    )  # fmt: skip
    (report.folder / "index.html").write_text(index, encoding="utf-8")
    report.save()


def write_index_of_runs(out: Path) -> None:
    """Write the index of all runs in *out*, each with what has changed from the last one of such names."""
    before: dict[tuple[str, str], Report] = {}
    rows = []
    for run in sorted((read_report(path.parent) for path in out.glob("*/run.json")), key=lambda run: run.run_id):
        earlier = before.get((run.delivery, run.database), run)
        before[run.delivery, run.database] = run
        compared = ("read", "stored", "rejected", "attention")
        more = {name: getattr(run, name) - getattr(earlier, name) for name in compared}
        rows.append(run.facts() | {"more": more})
    (out / "index.html").write_text(render("runs.html.j2", title="All runs", runs=rows[::-1]), encoding="utf-8")


def without_measured(page: str) -> str:
    """A page without what is measured, time and memory: all the rest is the same bytes each time."""
    return re.sub(r"<!--measured-->.*?<!--/measured-->", "", page, flags=re.S)


def _parts(cells: Iterable[Any]) -> list[dict[str, str]]:
    """What each cell shows, and its code; that of cells that show nothing goes with the next: one click, not three."""
    parts: list[dict[str, str]] = []
    for cell in cells:
        code = cell.source if cell.cell_type == "code" else ""
        if code and parts and parts[-1]["code"] and not parts[-1]["html"]:
            code = f"{parts.pop()['code']}\n\n{code}"
        parts.append({"html": render("cell.html.j2", cell=cell), "code": code})
    return parts


def _markdown(source: str) -> str:
    return re.sub(r'<a class="anchor-link".*?</a>', "", markdown2html_mistune(source))


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
