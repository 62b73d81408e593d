"""Draw architecture.svg: the way of a record through the rooms, each with its modules as they are in the code."""

from html import escape
from pathlib import Path
from typing import NamedTuple

import foundation

_PACKAGE = Path(foundation.__file__).parent
_STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#1f2933}.name{font-weight:600;font-size:15px}.small{font-size:11.5px;"
    "fill:#52606d}.room{fill:#eef4fb;stroke:#3b6ea5}.side{fill:#f5f5f4;stroke:#8a8f98}.thing{fill:#fff;stroke:#8a8f98;"
    "stroke-dasharray:4 3}.way{stroke:#1f2933;stroke-width:1.5;fill:none;marker-end:url(#tip)}"
)


class Box(NamedTuple):
    """A room, or a thing outside the package; the corner and size are in pixels."""

    name: str
    x: int
    y: int
    width: int
    height: int
    text: str
    kind: str = "room"


class Arrow(NamedTuple):
    """What is handed over, from one point to another."""

    x1: int
    y1: int
    x2: int
    y2: int
    label: str = ""


_BOXES = [
    Box("CSV files", 20, 95, 120, 60, "of any size", "thing"),
    Box("reader", 210, 60, 190, 130, "bytes → raw records"),
    Box("schema", 480, 60, 190, 130, "raw text → rows or reasons"),
    Box("store", 750, 60, 190, 130, "a transaction a chunk"),
    Box("pipeline", 210, 225, 460, 90, "drives the three rooms above, chunk by chunk; every load can be resumed"),
    Box("SQLite file", 750, 240, 190, 60, "tables, rejects, ledger", "thing"),
    Box("query", 750, 350, 190, 130, "pages, streams, frames"),
    Box("stats", 480, 350, 190, 130, "columns, drift, attention"),
    Box("report", 210, 350, 190, 130, "notebooks → pages"),
    Box("HTML pages", 20, 385, 120, 60, "and a manifest", "thing"),
    Box("lake", 210, 515, 190, 130, "the same on a cluster", "side"),
    Box("infer", 480, 515, 190, 130, "proposes a source", "side"),
    Box("cli", 750, 515, 88, 130, "the verbs", "side"),
    Box("delivery", 850, 515, 90, 130, "the example", "side"),
]
_ARROWS = [
    Arrow(140, 125, 208, 125, "bytes"),
    Arrow(400, 125, 478, 125, "Chunk"),
    Arrow(670, 125, 748, 125, "rows"),
    Arrow(845, 190, 845, 238),
    Arrow(845, 300, 845, 348),
    Arrow(750, 415, 672, 415, "rows"),
    Arrow(480, 415, 402, 415, "figures"),
    Arrow(210, 415, 142, 415),
]


def picture() -> str:
    """The whole drawing as SVG."""
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 960 665" role="img" '
        'aria-label="The way of a record through the rooms">',
        f"<style>{_STYLE}</style>",
        '<marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0L8 4L0 8z"/></marker><rect width="960" height="665" fill="#fff"/>',
        _text(20, 34, "The way of a record: read → validate → store, driven by the pipeline; then read back and shown"),
        *(_box(box) for box in _BOXES),
        *(_arrow(arrow) for arrow in _ARROWS),
    ]
    return "\n".join([*parts, "</svg>\n"])


def _box(box: Box) -> str:
    lines = [box.text, *_modules(box)]
    texts = [_text(box.x + 12, box.y + 24, box.name, "name")]
    texts += [_text(box.x + 12, box.y + 44 + 17 * at, line, "small") for at, line in enumerate(lines)]
    frame = f'<rect class="{box.kind}" x="{box.x}" y="{box.y}" width="{box.width}" height="{box.height}" rx="8"/>'
    return "\n".join([frame, *texts])


def _modules(box: Box) -> list[str]:
    """The names of the room's modules, in lines that fit its box."""
    folder = _PACKAGE / box.name
    names = sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__") if folder.is_dir() else []
    lines = [""]
    for name in names:
        longer = f"{lines[-1]} · {name}" if lines[-1] else name
        if len(longer) * 6.2 <= box.width - 20:
            lines[-1] = longer
        else:
            lines.append(name)
    return lines


def _arrow(arrow: Arrow) -> str:
    line = f'<path class="way" d="M{arrow.x1} {arrow.y1}L{arrow.x2} {arrow.y2}"/>'
    middle = (arrow.x1 + arrow.x2) // 2 - 3 * len(arrow.label)
    return line + (_text(middle, arrow.y1 - 8, arrow.label, "small") if arrow.label else "")


def _text(x: int, y: int, text: str, kind: str = "") -> str:
    return f'<text x="{x}" y="{y}"{f" class={chr(34)}{kind}{chr(34)}" if kind else ""}>{escape(text)}</text>'
