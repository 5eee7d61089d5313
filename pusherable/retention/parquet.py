"""Events as Parquet, by pyarrow: for DuckDB, Spark, ClickHouse and others. JSON columns are text there."""

import datetime as dt
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

import pyarrow as pa
from pyarrow import parquet as pq

from pusherable.retention.archive import COLUMNS, JSON_COLUMNS, Record, encode

_TYPES: Final = {"id": pa.int64(), "occurred_at": pa.timestamp("us", tz="UTC")}
SCHEMA: Final = pa.schema([(name, _TYPES.get(name, pa.string())) for name in COLUMNS])


def write(groups: Iterable[list[Record]], file: BinaryIO) -> None:
    """Write the records, each list of them as a row group."""
    with pq.ParquetWriter(file, SCHEMA, compression="zstd") as writer:
        for records in groups:
            writer.write_table(pa.Table.from_pylist([_row(record) for record in records], SCHEMA))


def records(path: Path, size: int) -> Iterator[list[Record]]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(size, columns=list(COLUMNS)):
            yield [_record(row) for row in batch.to_pylist()]


def count(path: Path) -> int:
    with pq.ParquetFile(path) as file:
        return int(file.metadata.num_rows)


def _row(record: Record) -> Record:
    texts = {name: encode(record[name]) for name in JSON_COLUMNS}
    return record | texts | {"occurred_at": dt.datetime.fromisoformat(record["occurred_at"])}


def _record(row: Record) -> Record:
    values = {name: json.loads(row[name]) for name in JSON_COLUMNS}
    return row | values | {"occurred_at": row["occurred_at"].isoformat()}
