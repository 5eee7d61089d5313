"""What pruning costs whoever writes to the same SQLite file, which has one lock. For `benchmarks.prune`."""

import shutil
import statistics
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.generate import fill
from benchmarks.log import (
    RAW,
    Calls,
    Way,
    follow,
    heading,
    idle,
    percentile,
    remove,
    row,
    verdict,
    writing,
)
from benchmarks.process import running, set_up

PRUNE = Way("prune")
ARCHIVE = Way("prune --archive", archives=True)
WAYS = (RAW, PRUNE, ARCHIVE)
MIB = 2**20


@dataclass
class Run:
    events: int
    seconds: float
    idle: Calls
    calls: Calls
    wal: int
    quarters: list[float]
    peak: float

    @property
    def rate(self) -> float:
        return self.events / self.seconds


def measure(way: Way, template: Path, database: dict[str, Any], total: int) -> Run:
    from django.db import connections

    from pusherable.models import AccessEvent

    connections["work"].close()
    work = Path(database["NAME"])
    log = work.with_name(f"{work.name}-wal")
    for file in (log, work.with_name(f"{work.name}-shm")):
        file.unlink(missing_ok=True)
    shutil.copy(template, work)
    events, moment = way.cutoff("work", total)
    connections["work"].close()
    peak = 0

    def look() -> None:
        nonlocal peak
        with suppress(FileNotFoundError):
            peak = max(peak, log.stat().st_size)

    with writing(database) as take, running(remove, database, way, moment) as process:
        alone = idle(take)
        seconds = follow(process, look)
        calls = take()
        look()
        size = process.measure("VmHWM")
    assert not AccessEvent.objects.using("work").filter(occurred_at__lt=moment).exists()
    return Run(events, seconds, alone, calls, peak, process.quarters(), size)


def run(events: int, rounds: int) -> None:
    """Print the table."""
    from tests import databases

    # The defaults of Django: a writer waits for 5 seconds.
    filled = {name: databases.sqlite()[name] for name in ("ENGINE", "NAME")}
    template = Path(filled["NAME"])
    work = filled | {"NAME": template.with_name("work.sqlite3")}
    set_up({"default": filled, "work": work})
    from django.core.management import call_command
    from django.db import connection

    call_command("migrate", verbosity=0)
    fill("default", events)
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA journal_mode=WAL")
    connection.close()
    turns = [{way: measure(way, template, work, events) for way in WAYS} for _ in range(rounds)]
    heading(
        "SQLite (WAL)", "events", "events/s", "of raw", "writer p50 (ms)", "p99", "longest", "calls",
        "idle p99", "idle longest", "MiB", "peak", "WAL file (MiB)",
    )  # fmt: skip
    for way in WAYS:
        runs = [turn[way] for turn in turns]
        calls = [call for one in runs for call in one.calls]
        alone = [call for one in runs for call in one.idle]
        row(
            way.title,
            f"{runs[0].events:,}",
            f"{statistics.median(one.rate for one in runs):,.0f}",
            f"{statistics.median(turn[way].rate / turn[RAW].rate for turn in turns):.2f}",
            f"{percentile(calls, 0.5):.1f}",
            f"{percentile(calls, 0.99):.1f}",
            f"{max(calls):.0f}",
            f"{len(calls):,}",
            f"{percentile(alone, 0.99):.1f}",
            f"{max(alone):.0f}",
            " ".join(f"{size:.0f}" for size in runs[-1].quarters),
            f"{max(one.peak for one in runs):.0f}",
            f"{max(one.wal for one in runs) / MIB:.1f}",
        )
    print()
    for way in (PRUNE, ARCHIVE):
        longest = max(call for turn in turns for call in turn[way].calls)
        verdict(way.title, "writer never locked out above 250 ms", f"{longest:.0f} ms", met=longest <= 250)
