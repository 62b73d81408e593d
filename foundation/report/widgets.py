"""What notebooks show: plots and sentences, the same bytes for the same data, safe whatever the data holds."""

import html
import io
import re
from pathlib import Path
from typing import Any

from foundation.display import cell, table
from foundation.errors import visible

# Okabe and Ito's colours, which the colour-blind can tell apart (jfly.uni-koeln.de/color).
BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#767676"

_STYLE = Path(__file__).parent / "template/plot.mplstyle"


class Answer:
    """The sentence that answers a question; every character of it is shown as it is, for it may come from a file.

    Markdown would let a value of a file bring its own links and HTML into the page.
    """

    style = "answer"

    def __init__(self, text: str) -> None:
        self.text = visible(text, 10_000)

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        return {"text/html": f'<p class="{self.style}">{html.escape(self.text)}</p>', "text/plain": self.text}


class Note(Answer):
    """A sentence in passing."""

    style = "note"


class Table:
    """At most *limit* rows of a frame or of mappings, without their index: numbers with commas, nothing cut off."""

    def __init__(self, rows: Any, *, limit: int = 10) -> None:
        import pandas as pd

        frame = pd.DataFrame(rows)
        self.left_out = max(len(frame) - limit, 0)
        shown = frame.head(limit).astype(object)
        self.frame = shown.where(shown.notna(), None)

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        shown = table([str(name) for name in self.frame.columns], self.frame.to_numpy().tolist())
        plain = self.frame.map(cell).to_string(index=False)
        if self.left_out:
            shown += f'<p class="note">and {self.left_out:,} more</p>'
            plain += f"\nand {self.left_out:,} more"
        return {"text/html": shown, "text/plain": plain}


class Plot:
    """A figure to draw on, `axes`; as the last value of a cell it shows itself with *description* as its text.

    The size is in inches.
    """

    def __init__(self, description: str, *, width: float = 7.2, height: float = 2.6) -> None:
        import matplotlib

        matplotlib.use("agg")
        from matplotlib import pyplot

        pyplot.style.use(_STYLE)
        self.description = description
        self.figure, self.axes = pyplot.subplots(figsize=(width, height))

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        from matplotlib import pyplot

        buffer = io.StringIO()
        self.figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
        pyplot.close(self.figure)
        return {"image/svg+xml": _described(buffer.getvalue(), self.description), "text/plain": self.description}


def _described(svg: str, description: str) -> str:
    """The drawing alone, as an image with a name for those who cannot see it, and as wide as its page."""
    named = f' role="img" aria-label="{html.escape(description)}"'
    start = svg.index("<svg") + len("<svg")
    tag, rest = svg[start:].split(">", 1)
    tag = re.sub(r'\s(width|height)="[^"]*"', "", tag)
    return f"<svg{named}{tag}>" + re.sub(r"<metadata>.*?</metadata>\s*", "", rest, flags=re.S)
