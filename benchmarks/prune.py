"""How fast old events go, what that costs whoever writes meanwhile, and what is given back.

Run with ``python -m benchmarks.prune``. The database, a process that records events all the time and the one
that prunes share the machine. Each way has a fresh copy of the same log, and they take turns; how long the
writer takes alone is measured on the same copy right before. The time runs from when the pruning process is
ready.
"""

import argparse
import os
import platform
import re
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import prune_sqlite
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
from benchmarks.process import Process, running, set_up

BATCHES = ("--batch-size", "5000")
PRUNE = Way("prune", options=BATCHES)
RECEIVER = Way("prune, others' receiver", options=BATCHES, receiver=True)
ARCHIVE = Way("prune --archive", options=BATCHES, archives=True)
PARTITIONED = Way("prune, partitioned", options=BATCHES)
#: A tenth of the events only, because it takes long.
QUERYSET = Way("QuerySet.delete(), others' receiver", by="queryset", receiver=True, share=0.05)
WAYS = (RAW, PRUNE, RECEIVER, ARCHIVE, PARTITIONED, QUERYSET)

#: What the server logs of the pruning connection, the only one that asks for it. COMMIT is a statement too.
DURATION = re.compile(r"LOG:  duration: ([\d.]+) ms  \w+: (\w+)")
MIB = 2**20


@dataclass
class Run:
    events: int
    seconds: float
    longest: tuple[float, str]
    idle: Calls
    calls: Calls
    process: Process
    peak: float
    disk: tuple[int, int]
    wal: int

    @property
    def rate(self) -> float:
        return self.events / self.seconds


class Server:
    """The databases: ``plain`` and ``partitioned``, which are only copied, and ``work``, the copy."""

    def __init__(self, events: int) -> None:
        from tests import databases

        self.database = databases.postgres()
        names = ("plain", "partitioned", "work")
        set_up({"default": self.database, **{name: self.database | {"NAME": name} for name in names}})
        from django.core.management import call_command
        from django.db import connections

        self.events = events
        self.connections = connections
        self.log = Path(self.query("SHOW data_directory"), "log")
        for name in ("plain", "partitioned"):
            self.query(f"CREATE DATABASE {name}")
            call_command("migrate", database=name, verbosity=0)
            if name == "partitioned":  # half of the log are three whole partitions and a third of one
                rows = ("--rows", str(3 * events // 20))
                call_command("pusherable_partition", *rows, "--no-input", database=name, verbosity=0)
            fill(name, events)
            connections[name].close()

    def query(self, sql: str) -> Any:
        with self.connections["default"].cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchone()[0] if cursor.description else None

    def measure(self, way: Way) -> Run:
        from pusherable.models import AccessEvent

        self.connections["work"].close()
        self.query("DROP DATABASE IF EXISTS work WITH (FORCE)")
        template = "partitioned" if way is PARTITIONED else "plain"
        self.query(f"CREATE DATABASE work TEMPLATE {template} STRATEGY FILE_COPY")
        database = self.database | {"NAME": "work"}
        logged = database | {"OPTIONS": {"options": "-c log_min_duration_statement=0"}}
        events, moment = way.cutoff("work", self.events)
        with writing(database) as take, running(remove, logged, way, moment) as process:
            self.query("CHECKPOINT")
            alone = idle(take)
            self.query("CHECKPOINT")
            before, start = self.size(), self.log.stat().st_size
            take()
            seconds = follow(process)
            calls = take()
            wal, peak = process.pipe.recv(), process.measure("VmHWM")
        with self.log.open() as log:
            log.seek(start)
            longest = max((float(duration), what) for duration, what in DURATION.findall(log.read()))
        assert not AccessEvent.objects.using("work").filter(occurred_at__lt=moment).exists()
        return Run(events, seconds, longest, alone, calls, process, peak, (before, self.size()), wal)

    def size(self) -> int:
        return int(self.query("SELECT pg_database_size('work')"))


def report(runs: dict[Way, list[Run]]) -> None:
    heading(
        "PostgreSQL", "events", "events/s", "of raw", "longest statement (ms)", "writer p50 (ms)", "p99",
        "calls", "idle p50", "idle p99", "p99 / idle", "MiB", "peak", "disk (MiB)", "after", "WAL",
    )  # fmt: skip
    for way, ones in runs.items():
        calls, alone = pooled(ones)
        last = ones[-1]
        row(
            way.title,
            f"{last.events:,}",
            f"{statistics.median(one.rate for one in ones):,.0f}",
            f"{of_raw(runs, way):.2f}",
            "{:.0f} ({})".format(*max(one.longest for one in ones)),
            f"{percentile(calls, 0.5):.1f}",
            f"{percentile(calls, 0.99):.1f}",
            f"{len(calls):,}",
            f"{percentile(alone, 0.5):.1f}",
            f"{percentile(alone, 0.99):.1f}",
            f"{of_idle(ones):.1f}",
            " ".join(f"{size:.0f}" for size in last.process.quarters()),
            f"{max(one.peak for one in ones):.0f}",
            *(f"{size / MIB:,.0f}" for size in last.disk),
            f"{statistics.median(one.wal for one in ones) / MIB:,.0f}",
        )
    print()
    for way in (PRUNE, RECEIVER, ARCHIVE, PARTITIONED):
        speed, ratio = of_raw(runs, way), of_idle(runs[way])
        longest, what = max(one.longest for one in runs[way])
        grown = max(one.process.quarters()[2] - one.process.quarters()[0] for one in runs[way])
        if way is PARTITIONED:
            [*_, (before, after)] = (one.disk for one in runs[way])
            fastest = max(1, of_raw(runs, PRUNE))
            verdict(way.title, "faster than either", f"{speed:.2f}", met=speed > fastest)
            verdict(way.title, "disk given back", f"{(before - after) / MIB:,.0f} MiB", met=after < before)
        elif not way.archives:
            verdict(way.title, "at least 0.80 of the raw DELETE", f"{speed:.2f}", met=speed >= 0.8)
        verdict(way.title, "no statement above 50 ms", f"{longest:.0f} ms ({what})", met=longest <= 50)
        verdict(way.title, "writer's p99 at most 3 times idle", f"{ratio:.1f}", met=ratio <= 3)
        verdict(way.title, "memory flat between a quarter and three", f"{grown:+.0f} MiB", met=grown < 8)


def of_raw(runs: dict[Way, list[Run]], way: Way) -> float:
    """The speed as a share of the raw DELETE's, round by round."""
    return statistics.median(ours.rate / raw.rate for ours, raw in zip(runs[way], runs[RAW], strict=True))


def of_idle(runs: list[Run]) -> float:
    calls, alone = pooled(runs)
    return percentile(calls, 0.99) / percentile(alone, 0.99)


def pooled(runs: list[Run]) -> tuple[Calls, Calls]:
    return [call for run in runs for call in run.calls], [call for run in runs for call in run.idle]


def main() -> None:
    import django

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=2_000_000, help="on SQLite a tenth (default 2000000)")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each way (default 5)")
    parser.add_argument("--database", choices=["postgres", "sqlite"], help="only this one, without heading")
    options = parser.parse_args()
    if options.database == "sqlite":
        prune_sqlite.run(options.events // 10, options.rounds)
    elif options.database == "postgres":
        server = Server(options.events)
        rounds = [{way: server.measure(way) for way in WAYS} for _ in range(options.rounds)]
        report({way: [one[way] for one in rounds] for way in WAYS})
    else:
        print(f"Python {platform.python_version()}, Django {django.__version__}, {os.cpu_count()} cores")
        print(f"rounds: {options.rounds}\n", flush=True)
        for database in ("postgres", "sqlite"):
            again = ["-m", "benchmarks.prune", "--database", database]
            again += ["--events", str(options.events), "--rounds", str(options.rounds)]
            subprocess.run([sys.executable, *again], check=True)
            print(flush=True)


if __name__ == "__main__":
    main()
