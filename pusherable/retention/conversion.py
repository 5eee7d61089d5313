"""The event table becomes the first partition of a new one, or a plain table again, while inserts go on."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Final, NamedTuple

from django.db import Error, connections, transaction
from django.db.backends.utils import CursorWrapper

from pusherable.models import AccessEvent
from pusherable.retention import partitions
from pusherable.retention.obstacles import check
from pusherable.retention.partitions import (
    BOUND,
    ROWS,
    PartitionError,
    alone,
    aside,
    home,
    patiently,
    rows,
    table_name,
)

#: On the way back so many events are copied at a time, and about as many while others wait.
BATCH: Final = 10_000
#: The trigger, and its function, by which nothing is changed or deleted meanwhile.
GUARD: Final = "pusherable_partition_guard"
#: On the way back it waits so many seconds for others, after copying for much longer.
PATIENCE: Final = 600.0


class Index(NamedTuple):
    """An index that another table is to have too."""

    name: str
    definition: str  # from USING on; of the primary key, all of it
    is_primary: bool
    comment: str  # quoted, or NULL


def boundary(using: str, size: int) -> int:
    """Where the first partition is to end: at a multiple of `size`, with room for that many ids at least."""
    ((highest,),) = rows(using, f"SELECT coalesce(max(id), 0) FROM {table_name(using)}")  # noqa: S608
    least = max(int(highest), partitions.last_given(using)) + 1 + size
    return -(-least // size) * size


def size_on_disk(using: str) -> str:
    ((size,),) = rows(using, _SIZE, [table_name(using)])
    return str(size)


def analyze(using: str) -> None:
    """The planner wants to know about the whole, and autovacuum looks at the partitions only."""
    _run(using, f"ANALYZE {table_name(using)}")


def convert(using: str, size: int = ROWS) -> None:
    """Make the event table the first partition of a new one with its name. Further ones have `size` ids."""
    if partitions.is_partitioned(using):
        return
    check(using)
    table, bound = table_name(using), boundary(using, size)
    add = f"ADD CONSTRAINT {BOUND} CHECK (id < {bound}) NOT VALID"
    limit = f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {BOUND}, {add}"
    with _tidy(using):
        alone(using, f"ONLY {table}", lambda cursor: cursor.execute(limit))
        # This reads the whole table, and nobody waits for it. The attaching would, and everybody would wait.
        _run(using, f"ALTER TABLE {table} VALIDATE CONSTRAINT {BOUND}")
        alone(using, f"ONLY {table}", partial(_become_first, using, bound))
    partitions.extend(using, width=size)
    analyze(using)


def revert(using: str) -> None:
    """Copy all partitions into a plain table, which then takes their place."""
    give_up(using)
    if not partitions.is_partitioned(using):
        return
    check(using)
    table = table_name(using)
    with _tidy(using):
        alone(using, f"ONLY {table}", partial(_begin_copy, using))
        copy = _Copy(using)
        copy.catch_up()
        copy.create_indexes()
        copy.catch_up()
        copy.verify()
        copy.take_over()
    analyze(using)


def give_up(using: str, *, patience: float | None = None) -> None:
    """Remove what a conversion or a way back has left that was broken off."""
    table, (schema, _owner) = table_name(using), home(using)
    undo = []
    if partitions.broken_off(using) is not None:
        undo = [f"ALTER TABLE {table} DROP CONSTRAINT {BOUND}"]
    if _is_guarded(using):
        undo = [f"DROP FUNCTION {schema}.{GUARD}() CASCADE", f"DROP TABLE {_plain(using)}"]
    if undo:
        alone(using, f"ONLY {table}", lambda cursor: cursor.execute("; ".join(undo)), patience=patience)


def left(using: str) -> str:
    """What is left of one that was broken off, for people; empty if nothing is."""
    if bound := partitions.broken_off(using):
        return f"No id can pass {bound - 1} until pusherable_partition has succeeded: run it again soon."
    if _is_guarded(using):
        return "No event can be changed or deleted until pusherable_partition has succeeded: run it again."
    return ""


class _Copy:
    """The plain table to be, and how far it has come."""

    def __init__(self, using: str) -> None:
        self._using, self._partitioned, self._table = using, table_name(using), _plain(using)
        self._indexes = _indexes(using)
        ((self._columns,),) = rows(using, _COLUMNS, [self._table])
        self._done, self._count = -(2**63), 0

    def catch_up(self) -> int:
        """Copy what is there now; returns how much that was."""
        last = partitions.last_given(self._using)
        _wait_for_writers(self._using)
        copied = self._copy(last)
        self._done, self._count = last, self._count + copied
        return copied

    def create_indexes(self) -> None:
        schema, _owner = home(self._using)
        with _unhurried(self._using) as cursor:
            for index in self._indexes:
                _create(cursor, index, schema, self._table, aside(self._using, index.name, "plain"))

    def verify(self) -> None:
        """The other copy is about to be dropped."""
        with _unhurried(self._using) as cursor:
            cursor.execute(f"SELECT count(*) FROM {self._partitioned} WHERE id <= {self._done}")  # noqa: S608
            (count,) = cursor.fetchone()
        if count != self._count:
            raise PartitionError(
                f"Of {count} events, {self._count} were copied. Meanwhile events may come with new ids only."
            )

    def take_over(self) -> None:
        for _attempt in patiently(self._using, PATIENCE):
            for _ in range(10):  # what is left is copied while everybody waits
                if self.catch_up() <= BATCH:
                    break
            with suppress(PartitionError):
                alone(self._using, self._partitioned, self._take_over, patience=0)
                return

    def _take_over(self, cursor: CursorWrapper) -> None:
        schema, _owner = home(self._using)
        quote = connections[self._using].ops.quote_name
        self._copy(2**63 - 1)
        _dress(cursor, "TABLE", self._partitioned, self._table)
        _hand_over_sequence(cursor, self._partitioned, self._table)
        cursor.execute(f"DROP TABLE {self._partitioned}")
        cursor.execute(f"DROP FUNCTION {schema}.{GUARD}()")
        cursor.execute(f"ALTER TABLE {self._table} RENAME TO {self._partitioned}")
        for index in self._indexes:
            temporary = aside(self._using, index.name, "plain")
            cursor.execute(f"ALTER INDEX {schema}.{temporary} RENAME TO {quote(index.name)}")

    def _copy(self, last: int) -> int:
        done, total, count = self._done, 0, BATCH
        while count == BATCH:
            ((count, done),) = rows(
                self._using,
                f"WITH copied AS (INSERT INTO {self._table} ({self._columns})"  # noqa: S608
                f" SELECT {self._columns} FROM {self._partitioned}"
                f" WHERE id > {done} AND id <= {last} ORDER BY id LIMIT {BATCH} RETURNING id)"
                " SELECT count(*), max(id) FROM copied",
            )
            total += count
        return total


def _become_first(using: str, bound: int, cursor: CursorWrapper) -> None:
    """The table moves aside, one like it with partitions takes its name, and it becomes the first of them."""
    if partitions.last_given(using) >= bound - 1:
        raise PartitionError(f"Meanwhile the ids have passed {bound}; give more --rows.")
    quote = connections[using].ops.quote_name
    indexes, (schema, owner) = _indexes(using), home(using)
    name = aside(using, AccessEvent._meta.db_table, bound)
    table, first = f"{schema}.{table_name(using)}", f"{schema}.{name}"
    cursor.execute(f"ALTER TABLE {table} RENAME TO {name}")
    for index in indexes:
        cursor.execute(
            f"ALTER INDEX {schema}.{quote(index.name)} RENAME TO {aside(using, index.name, bound)}"
        )
    cursor.execute(
        f"CREATE TABLE {table} (LIKE {first} INCLUDING ALL EXCLUDING INDEXES) PARTITION BY RANGE (id)"
    )
    cursor.execute(f"ALTER TABLE {table} DROP CONSTRAINT {BOUND}")
    cursor.execute(f"ALTER TABLE {table} OWNER TO {owner}")
    _dress(cursor, "TABLE", first, table)
    _hand_over_sequence(cursor, first, table)
    for index in indexes:
        _create(cursor, index, schema, table, quote(index.name))
    cursor.execute(f"ALTER TABLE {table} ATTACH PARTITION {first} FOR VALUES FROM (MINVALUE) TO ({bound})")
    cursor.execute(f"ALTER TABLE {first} DROP CONSTRAINT {BOUND}")


def _begin_copy(using: str, cursor: CursorWrapper) -> None:
    table, plain, (schema, owner) = table_name(using), _plain(using), home(using)
    cursor.execute(f"CREATE TABLE {plain} (LIKE {table} INCLUDING ALL EXCLUDING INDEXES)")
    cursor.execute(f"ALTER TABLE {plain} OWNER TO {owner}")
    cursor.execute(
        f"CREATE FUNCTION {schema}.{GUARD}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION "
        "'No event is changed or deleted until pusherable_partition --reverse is done.'; END $$"
    )
    cursor.execute(
        f"CREATE TRIGGER {GUARD} BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}"
        f" FOR EACH STATEMENT EXECUTE FUNCTION {schema}.{GUARD}()"
    )


def _wait_for_writers(using: str) -> None:
    """Afterwards all ids that have been given out are there to be read, or never will be.

    A transaction gets an id under a lock that it holds until its end.
    """
    waiting = set(rows(using, _WRITERS, [table_name(using)]))
    for _attempt in patiently(using, PATIENCE):
        if not waiting:
            return
        waiting &= set(rows(using, _WRITERS, [table_name(using)]))


def _dress(cursor: CursorWrapper, kind: str, source: str, target: str) -> None:
    """Give a table or a sequence the privileges and the comment of another one."""
    given, wanted = _privileges(cursor, target), _privileges(cursor, source)
    for privilege, grantee, _option in given - wanted:
        cursor.execute(f"REVOKE {privilege} ON {kind} {target} FROM {grantee}")
    for privilege, grantee, option in wanted - given:
        cursor.execute(f"GRANT {privilege} ON {kind} {target} TO {grantee} {option}")
    cursor.execute("SELECT quote_nullable(obj_description(%s::regclass, 'pg_class'))", [source])
    cursor.execute(f"COMMENT ON {kind} {target} IS {cursor.fetchone()[0]}")


def _hand_over_sequence(cursor: CursorWrapper, source: str, target: str) -> None:
    """The ids go on exactly where they are, from a sequence with the same name."""
    cursor.execute(_SEQUENCES, [source, target])
    old, new, name = cursor.fetchone()
    cursor.execute(f"SELECT last_value, is_called FROM {old}")  # noqa: S608
    state = cursor.fetchone()
    _dress(cursor, "SEQUENCE", old, new)
    cursor.execute(f"ALTER TABLE {source} ALTER COLUMN id DROP IDENTITY")
    cursor.execute(f"ALTER SEQUENCE {new} RENAME TO {name}")
    cursor.execute("SELECT setval(%s, %s, %s)", [old, *state])


def _create(cursor: CursorWrapper, index: Index, schema: str, table: str, name: str) -> None:
    if index.is_primary:
        cursor.execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} {index.definition}")
    else:
        cursor.execute(f"CREATE INDEX {name} ON {table} {index.definition}")
    cursor.execute(f"COMMENT ON INDEX {schema}.{name} IS {index.comment}")


def _privileges(cursor: CursorWrapper, name: str) -> set[tuple[str, str, str]]:
    cursor.execute(_PRIVILEGES, {"name": name})
    return set(cursor.fetchall())


def _indexes(using: str) -> list[Index]:
    return [Index(*row) for row in rows(using, _INDEXES, [table_name(using)])]


def _is_guarded(using: str) -> bool:
    return bool(rows(using, _HAS_GUARD, [table_name(using), GUARD]))


def _plain(using: str) -> str:
    schema, _owner = home(using)
    return f"{schema}.{aside(using, AccessEvent._meta.db_table, 'plain')}"


def _run(using: str, sql: str) -> None:
    with _unhurried(using) as cursor:
        cursor.execute(sql)


@contextmanager
def _unhurried(using: str) -> Iterator[CursorWrapper]:
    """For statements that take long on a large table, whatever a request may take."""
    with transaction.atomic(using=using), connections[using].cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout TO 0")
        yield cursor


@contextmanager
def _tidy(using: str) -> Iterator[None]:
    """After an error or Ctrl-C leave nothing behind; where that cannot be, it is left to the next run."""
    try:
        yield
    except BaseException:
        with suppress(Error, PartitionError):
            give_up(using, patience=0)
        raise


_INDEXES: Final = """
    SELECT relname,
        coalesce(pg_get_constraintdef(pkey.oid), substring(pg_get_indexdef(indexrelid), ' (USING .*)')),
        indisprimary, quote_nullable(obj_description(indexrelid, 'pg_class'))
    FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
    LEFT JOIN pg_constraint pkey ON conindid = indexrelid AND conrelid = indrelid
    WHERE indrelid = to_regclass(%s) ORDER BY indisprimary DESC, relname
"""
_COLUMNS: Final = """
    SELECT string_agg(quote_ident(attname), ', ') FROM pg_attribute
    WHERE attrelid = to_regclass(%s) AND attnum > 0 AND attgenerated = ''
"""
_SEQUENCES: Final = """
    SELECT old, new, quote_ident(relname)
    FROM pg_get_serial_sequence(%s, 'id') old, pg_get_serial_sequence(%s, 'id') new, pg_class
    WHERE pg_class.oid = old::regclass
"""
_SIZE: Final = """
    SELECT pg_size_pretty(pg_total_relation_size(event) + coalesce(sum(pg_total_relation_size(relid)), 0))
    FROM to_regclass(%s) event LEFT JOIN pg_partition_tree(event) ON true GROUP BY event
"""
_HAS_GUARD: Final = "SELECT 1 FROM pg_trigger WHERE tgrelid = to_regclass(%s) AND tgname = %s"
#: The mode is that of INSERT.
_WRITERS: Final = """
    SELECT virtualtransaction FROM pg_locks
    WHERE relation = to_regclass(%s) AND mode = 'RowExclusiveLock' AND granted
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
_PRIVILEGES: Final = """
    SELECT privilege_type || coalesce(' (' || quote_ident(attname) || ')', ''),
        CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END,
        CASE WHEN is_grantable THEN 'WITH GRANT OPTION' ELSE '' END
    FROM (
        SELECT NULL, coalesce(relacl, acldefault(translate(relkind::text, 'pS', 'rs')::"char", relowner))
        FROM pg_class WHERE oid = to_regclass(%(name)s)
        UNION ALL SELECT attname, attacl FROM pg_attribute WHERE attrelid = to_regclass(%(name)s)
    ) AS given (attname, acl), aclexplode(acl)
"""
