"""What a run is made of, and what it came to: its pages and its counts, kept as `run.json` in its folder."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from foundation.report.target import Target
from foundation.schema import Source
from foundation.store import COUNTS, RunStatus, run_status


@dataclass(frozen=True)
class ReportRun:
    """What a run of the notebooks is made of; only the *chosen* ones of its sources are loaded."""

    data: Path
    target: Target
    sources: Sequence[Source]
    chosen: Sequence[Source]
    notebooks: Mapping[str, Path]
    parameters: Mapping[str, Any]


def now() -> str:
    """The time in UTC as a manifest has it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(eq=False)
class Page:
    """One notebook of a run: where its page and its executed copy are, and why it failed if it did."""

    name: str
    source: str = ""
    title: str = ""
    failure: str | None = None

    @property
    def label(self) -> str:
        """What it is called in words."""
        return f"{self.name} {self.source}".rstrip()

    @property
    def stem(self) -> str:
        """The name of its files."""
        return f"{self.name}_{self.source}" if self.source else self.name

    @property
    def href(self) -> str:
        """Its page, from the index of the run."""
        return f"{self.stem}.html"

    @property
    def notebook(self) -> str:
        """Its executed copy, from the index of the run."""
        return f"notebooks/{self.stem}.ipynb"


@dataclass
class Report:
    """A run of the notebooks; `status` is that of the loads, or failed when a notebook did not run to its end."""

    run_id: str
    folder: Path
    status: str = RunStatus.COMPLETE
    read: int = 0
    stored: int = 0
    rejected: int = 0
    attention: int = 0  # points that need it
    delivery: str = ""  # the name of its folder
    database: str = ""  # the name of its file
    why: str = ""  # this run was made
    kept: bool = False  # an earlier run, for nothing has changed since
    began: str = field(default_factory=now)
    pages: list[Page] = field(default_factory=list)

    def failures(self) -> list[str]:
        """Why notebooks did not run to their end."""
        return [f"{page.stem}: {page.failure}" for page in self.pages if page.failure]

    def count(self, loads: Sequence[Mapping[str, Any]]) -> None:
        """Take the status and the counts from the loads."""
        self.read, inserted, updated, unchanged, self.rejected = (sum(load[name] for load in loads) for name in COUNTS)
        self.stored = inserted + updated + unchanged
        self.status = run_status([load["status"] for load in loads])
        if self.status == RunStatus.COMPLETE and self.failures():
            self.status = RunStatus.FAILED

    def facts(self) -> dict[str, Any]:
        """All but where it is, as `run.json` has it."""
        return {name: value for name, value in asdict(self).items() if name not in ("folder", "kept")}

    def save(self) -> None:
        """Write `run.json`."""
        (self.folder / "run.json").write_text(json.dumps(self.facts(), indent=2), encoding="utf-8")


def read_report(folder: Path) -> Report:
    """What a run came to, read back from its folder."""
    facts = json.loads((folder / "run.json").read_text("utf-8"))
    return Report(**facts | {"folder": folder, "pages": [Page(**page) for page in facts["pages"]]})
