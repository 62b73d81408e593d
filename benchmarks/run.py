"""Load the same two files with foundation and with its peers, in turn, and keep the ratios in README.md beside this.

`python run.py [--orders N] [--rounds N] [--only NAME …]`; the peers live in an environment of their own, .venv-bench.
"""

import argparse
import os
import platform
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import NamedTuple

from peers import NAMES, PEERS

from foundation import SOURCES
from foundation.delivery.sample import write_sample
from foundation.store.database import index_sql, table_sql

HERE = Path(__file__).parent
PEERS_PYTHON = HERE.parent / ".venv-bench" / "bin" / "python"
PACKAGES = ("pandas", "sqlite-utils", "csvs-to-sqlite", "dlt", "frictionless", "pydantic")


class Run(NamedTuple):
    """Seconds by the clock and the resident bytes of the largest process of one run."""

    seconds: float
    peak: int


def timed(*command: object, db: Path) -> Run:
    """Run a command that makes *db* anew, in a process of its own."""
    for left in (*db.parent.glob(f"{db.name}*"), db.parent / "dlt"):
        shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)
    began = time.perf_counter()
    process = subprocess.Popen([*map(str, command)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    if status:
        raise SystemExit(f"it failed: {' '.join(map(str, command))}")
    with closing(sqlite3.connect(db)) as connection:
        if not connection.execute("SELECT count(*) FROM orders").fetchone()[0]:
            raise SystemExit(f"nothing was loaded: {' '.join(map(str, command))}")
    return Run(seconds, used.ru_maxrss * 1024)


def measure(orders: int, rounds: int, only: list[str]) -> dict[str, list[Run]]:
    """The runs of foundation and of each peer, round by round."""
    runs: dict[str, list[Run]] = {name: [] for name in ("foundation", *(only or PEERS))}
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        write_sample(folder / "data", orders=orders)
        sources = [source for source in SOURCES if source.name in NAMES]
        own = re.compile(r',\n  "_(load|record)" INTEGER NOT NULL')
        (folder / "tables.sql").write_text(";\n".join(own.sub("", table_sql(s)) for s in sources) + ";\n")
        (folder / "indexes.sql").write_text("".join(f"{sql};\n" for s in sources for _, sql in index_sql(s)))
        ours = [Path(sys.executable).with_name("foundation"), "ingest", folder / "data", "--db", folder / "x.db",
                *(word for name in NAMES for word in ("--source", name))]  # fmt: skip
        for number in range(rounds):
            for name, found in runs.items():
                peer = [PEERS_PYTHON, HERE / "peers.py", name, folder / "data", folder / "x.db",
                        folder / "tables.sql", folder / "indexes.sql"]  # fmt: skip
                found.append(timed(*(ours if name == "foundation" else peer), db=folder / "x.db"))
                print(f"{number + 1}/{rounds} {name}: {found[-1].seconds:.2f} s", file=sys.stderr)
    return runs


def table(runs: dict[str, list[Run]], orders: int, rounds: int) -> str:
    """What was measured, as Markdown; a ratio is taken within a round, where the machine was the same."""
    ours = runs["foundation"]
    lines = ["| loader | seconds | foundation ÷ it | peak MB |", "| --- | ---: | ---: | ---: |"]
    for name, found in sorted(runs.items(), key=lambda item: median(run.seconds for run in item[1])):
        ratios = [mine.seconds / run.seconds for mine, run in zip(ours, found, strict=True)]
        ratio = f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})" if name != "foundation" else ""
        peak = max(run.peak for run in found) / 1e6
        lines.append(f"| {name} | {median(run.seconds for run in found):.1f} | {ratio} | {peak:.0f} |")
    freeze = subprocess.run([PEERS_PYTHON, "-m", "pip", "freeze"], capture_output=True, text=True, check=True).stdout
    versions = dict(line.split("==") for line in freeze.splitlines() if "==" in line)
    found_versions = ", ".join(
        f"{name} {versions.get(name, versions.get(name.replace('-', '_'), '?'))}" for name in PACKAGES
    )
    shell = subprocess.run(["sqlite3", "--version"], capture_output=True, text=True, check=True).stdout.split()[0]  # noqa: S607
    return "\n".join([
        f"{orders:,} orders and their clients, {rounds} rounds, {os.cpu_count()} processors ({platform.machine()}), "
        f"Python {platform.python_version()}, sqlite3 shell {shell}, {found_versions}. Medians, with the least and the "
        "greatest ratio; below 1 foundation is faster. The peak is that of the largest process.", "", *lines,
    ])  # fmt: skip


def main() -> None:
    """Measure, print, and keep the table in README.md between its marks."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--orders", type=int, default=100_000)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--only", action="append", choices=list(PEERS), default=[])
    given = options.parse_args()
    told = table(measure(given.orders, given.rounds, given.only), given.orders, given.rounds)
    print(told)
    readme = HERE / "README.md"
    mark = f"<!-- {given.orders} orders -->"
    before, _, after = readme.read_text("utf-8").partition(mark)
    readme.write_text(f"{before}{mark}\n{told}\n{mark}{after.partition(mark)[2]}", "utf-8")


if __name__ == "__main__":
    main()
