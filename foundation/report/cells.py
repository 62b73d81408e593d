"""What each cell of an executed notebook took, in time and memory, as a small drawing."""

import html
from typing import Any

_WIDTH, _HALF, _GAP = 720, 60, 26  # the drawing; each of its two rows of bars; between them


def drawing(cells: list[Any]) -> str:
    """Two rows of bars over the code cells: seconds, and the peak of resident memory; nothing if no cell was begun."""
    told = [cell.metadata.get("foundation", {}) for cell in cells if cell.cell_type == "code"]
    begun = [(number, one) for number, one in enumerate(told, 1) if "seconds" in one]
    if not begun:
        return ""
    rows = [
        _row(begun, "seconds", "seconds", 1.0, len(told), top=0),
        _row(begun, "rss_peak", "MB at the peak", 1e-6, len(told), top=_HALF + _GAP),
    ]
    height = 2 * _HALF + 2 * _GAP
    name = html.escape(f"Bars for the {len(told)} code cells. {_most(begun)}")
    return (
        f'<svg class="cells" role="img" aria-label="{name}" viewBox="0 0 {_WIDTH} {height}">{"".join(rows)}</svg>'
        f'<p class="note">{name}</p>'
    )


def _most(begun: list[tuple[int, Any]]) -> str:
    slow, large = (max(begun, key=lambda one: one[1][what]) for what in ("seconds", "rss_peak"))
    whole = sum(one["seconds"] for _, one in begun)
    return (
        f"They took {whole:.1f} s together, cell {slow[0]} the longest, {slow[1]['seconds']:.1f} s; "
        f"memory was highest in cell {large[0]}, {large[1]['rss_peak'] / 1e6:,.0f} MB."
    )


def _row(begun: list[tuple[int, Any]], what: str, unit: str, scale: float, cells: int, *, top: int) -> str:
    """The bars of one figure, each with its own words for those who point at it."""
    most = max(one[what] for _, one in begun) or 1
    step = _WIDTH / cells
    bars = "".join(
        f'<rect{"" if one["status"] == "completed" else " class=failed"} x="{(number - 1) * step:.1f}" '
        f'y="{top + _GAP + _HALF * (1 - one[what] / most):.1f}" width="{0.8 * step:.1f}" '
        f'height="{max(_HALF * one[what] / most, 1):.1f}"><title>cell {number}, {one["status"]}: '
        f"{one[what] * scale:,.2f} {unit}</title></rect>"
        for number, one in begun
    )
    return f'<text x="0" y="{top + 16}">{unit}, up to {most * scale:,.2f}</text>{bars}'
