"""The event table is divided, and made a plain one again, while events are recorded all the time."""

import re
from io import StringIO
from itertools import count

import pytest
from django.core.management import call_command
from django.db import Error, connection, transaction

from pusherable.models import AccessEvent, Delivery
from pusherable.recording import record_access
from pusherable.retention import conversion, partitions
from pusherable.retention.conversion import convert, give_up, revert
from pusherable.retention.partitions import PartitionError
from tests.retention.tables import (
    ONLY_POSTGRESQL,
    TABLE,
    Running,
    bounds,
    contents,
    fill,
    is_as_migrate_made_it,
    query,
    record,
    session,
    soon,
    table,
    writing,
)
from tests.testapp.models import Poll

__all__ = ["table"]

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("table"), ONLY_POSTGRESQL]


def both_ways():
    yield convert, ("default", 1000)
    yield revert, ("default",)


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(partitions, "PATIENCE", 0.3)


def test_the_table_becomes_the_first_partition_and_the_ids_go_on():
    fill(2500)
    before = contents()
    convert("default", 1000)
    assert bounds() == [(None, 4000), (4000, 5000), (5000, 6000), (6000, 7000), (7000, 8000)]
    assert contents() == before
    assert record() == 2501
    assert query(f"SELECT count(*) FROM {TABLE}_4000") == [(2501,)]


def test_an_event_with_an_id_beyond_the_sequence_has_its_place():
    AccessEvent(pk=12_345, action="view").save(force_insert=True)
    convert("default", 1000)
    assert bounds()[0] == (None, 14_000)
    assert record() == 1


def test_it_becomes_a_plain_table_again_as_migrate_made_it():
    fill(2500)
    before = contents()
    convert("default", 1000)
    fill(2000)
    query(f"DROP TABLE {TABLE}_5000")
    query(f"DELETE FROM {TABLE} WHERE id = 17")
    after, last = contents(), record()
    revert("default")
    assert is_as_migrate_made_it()
    assert contents(last - 1) == after != before
    assert record() == last + 1


@pytest.mark.parametrize(("change", "arguments"), both_ways(), ids=["there", "and back"])
def test_no_insert_fails_and_no_id_is_lost_or_given_twice(monkeypatch, change, arguments):
    monkeypatch.setattr(conversion, "BATCH", 100)
    if change is revert:
        convert("default", 1000)
    fill(3000)
    before = contents()
    with writing() as ids:
        change(*arguments)
    assert contents(3000) == before
    assert sorted(ids) == list(range(3001, 3001 + len(ids)))
    assert list(AccessEvent.objects.order_by("pk").values_list("pk", flat=True)) == list(range(1, max(ids) + 1))
    assert record() == max(ids) + 1
    assert is_as_migrate_made_it() is (change is revert)


def test_no_index_is_rebuilt_and_nothing_is_read_while_others_wait():
    fill(2000)
    files = "SELECT relfilenode FROM pg_class JOIN pg_index ON indexrelid = pg_class.oid WHERE indrelid = '{}'::regclass"
    before, messages = query(files.format(TABLE)), []
    query("SET client_min_messages TO debug1")
    connection.connection.add_notice_handler(lambda notice: messages.append(notice.message_primary))
    convert("default", 1000)
    query("RESET client_min_messages")
    assert sorted(query(files.format(f"{TABLE}_4000"))) == sorted(before)
    assert f'partition constraint for table "{TABLE}_4000" is implied by existing constraints' in messages
    attached = f"""
        SELECT part.relname, whole.relname FROM pg_inherits JOIN pg_class part ON part.oid = inhrelid
        JOIN pg_class whole ON whole.oid = inhparent
        JOIN pg_index ON indexrelid = part.oid WHERE indrelid = '{TABLE}_4000'::regclass
    """
    names = [index.name for index in AccessEvent._meta.indexes] + [f"{TABLE}_pkey"]
    assert sorted(query(attached)) == sorted((f"{name}_4000", name) for name in names)


PROPERTIES = f"""
    SELECT 'table', pg_get_userbyid(relowner), (SELECT array_agg(a::text ORDER BY a::text) FROM aclexplode(relacl) a)::text,
        obj_description(oid, 'pg_class')
    FROM pg_class WHERE oid = '{TABLE}'::regclass
    UNION ALL SELECT 'column ' || attnum, attname || ' ' || format_type(atttypid, atttypmod),
        concat_ws(' ', attnotnull, attstorage, attcompression, attidentity, attcollation::regcollation,
            pg_get_expr(adbin, adrelid), attacl), col_description(attrelid, attnum)
    FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
    WHERE attrelid = '{TABLE}'::regclass AND attnum > 0
    UNION ALL SELECT 'index', relname, replace(pg_get_indexdef(oid), ' ON ONLY ', ' ON '), obj_description(oid)
    FROM pg_class JOIN pg_index ON indexrelid = oid WHERE indrelid = '{TABLE}'::regclass
    UNION ALL SELECT 'constraint', conname, pg_get_constraintdef(oid), obj_description(oid)
    FROM pg_constraint WHERE conrelid = '{TABLE}'::regclass
    UNION ALL SELECT 'sequence', pg_get_userbyid(relowner),
        (SELECT array_agg(a::text ORDER BY a::text) FROM aclexplode(relacl) a)::text, obj_description(oid)
    FROM pg_class WHERE oid = '{TABLE}_id_seq'::regclass
    UNION ALL SELECT 'sequence', concat_ws(' ', seqstart, seqincrement, seqmin, seqmax, seqcache), seqcycle::text,
        pg_get_serial_sequence('{TABLE}', 'id')
    FROM pg_sequence WHERE seqrelid = '{TABLE}_id_seq'::regclass
    ORDER BY 1, 2, 3
"""


@pytest.fixture
def roles():
    query("CREATE ROLE keeper; CREATE ROLE clerk; CREATE ROLE auditor; GRANT CREATE ON SCHEMA public TO keeper")
    yield
    query("RESET ROLE")
    query("DROP OWNED BY keeper, clerk, auditor; DROP ROLE keeper, clerk, auditor")


def test_whatever_the_project_has_set_on_the_table_stays(roles):
    for statement in (
        f"ALTER TABLE {TABLE} OWNER TO keeper",
        f"GRANT INSERT, SELECT ON {TABLE} TO clerk WITH GRANT OPTION",
        f"GRANT SELECT (id, action) ON {TABLE} TO auditor",
        f"GRANT USAGE ON SEQUENCE {TABLE}_id_seq TO clerk",
        f"REVOKE TRUNCATE ON {TABLE} FROM keeper",
        f"COMMENT ON TABLE {TABLE} IS 'Who saw what: 100 %, it''s all here'",
        f"COMMENT ON COLUMN {TABLE}.action IS 'A word'",
        f"COMMENT ON SEQUENCE {TABLE}_id_seq IS 'Never goes back'",
        f"CREATE INDEX \"By Address 100%\" ON {TABLE} (remote_addr, lower(username) DESC) INCLUDE (action) "
        "WITH (fillfactor = 70) WHERE username LIKE 'a%'",
        "COMMENT ON INDEX \"By Address 100%\" IS 'Ours'",
        f"COMMENT ON INDEX {TABLE}_pkey IS 'The order of the log'",
        f"ALTER TABLE {TABLE} ADD CONSTRAINT known CHECK (action <> 'unknown')",
        f"ALTER TABLE {TABLE} ALTER request_id SET DEFAULT 'none', ALTER changes SET STORAGE EXTERNAL",
        f"ALTER TABLE {TABLE} ALTER username TYPE varchar(255) COLLATE \"C\"",
        f"ALTER TABLE {TABLE} ADD region text, ADD upper text GENERATED ALWAYS AS (upper(action)) STORED",
        f"ALTER TABLE {TABLE} DROP region",
        f"ALTER TABLE {TABLE} ALTER id SET INCREMENT 3 SET MAXVALUE 900000 RESTART WITH 77",
        # What a new table would have.
        "ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO auditor",
        "ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO auditor",
    ):
        query(statement)
    before = query(PROPERTIES)
    ids = []
    for change, arguments in both_ways():
        ids.append(record())
        change(*arguments)
        assert query(PROPERTIES) == before
        query("SET ROLE clerk")
        ids.append(record())
        query("RESET ROLE")
    assert ids == [77, 80, 83, 86]
    query("ALTER DEFAULT PRIVILEGES REVOKE ALL ON TABLES FROM auditor")
    query("ALTER DEFAULT PRIVILEGES REVOKE ALL ON SEQUENCES FROM auditor")


def test_partitions_belong_to_the_owner_of_the_table(roles):
    query(f"ALTER TABLE {TABLE} OWNER TO keeper")
    query("SET ROLE keeper")
    convert("default", 1000)
    query("RESET ROLE")
    query(f"SELECT setval('{TABLE}_id_seq', 5500)")
    partitions.extend("default")
    query("SET ROLE keeper")
    for partition in partitions.partitions("default")[1:]:
        query(f"DROP TABLE {partition.name}")
    revert("default")


def test_a_table_in_another_schema_stays_there():
    query('CREATE SCHEMA empty; CREATE SCHEMA "The Log"')
    query(f'ALTER TABLE {TABLE} SET SCHEMA "The Log"')
    query('SET search_path TO empty, "The Log", public')
    everything = "SELECT relname, relnamespace::regnamespace::text FROM pg_class WHERE relname LIKE 'pusherable_a%'"
    try:
        before = query(everything)
        fill(10)
        convert("default", 1000)
        assert record() == 11
        query(f"SELECT setval('{TABLE}_id_seq', 3000)")
        query("SET search_path TO DEFAULT")
        query('SET search_path TO empty, "The Log"')
        partitions.extend("default")
        with transaction.atomic():
            partitions.drop("default", partitions.closed("default")[0])
        assert {schema for _name, schema in query(everything)} == {'"The Log"'}
        revert("default")
        assert sorted(query(everything)) == sorted(before)
    finally:
        query("RESET search_path")
        query('DROP SCHEMA "The Log", empty CASCADE')


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        (f"CREATE TABLE note (event bigint CONSTRAINT about REFERENCES {TABLE})", "constraint about on table note"),
        (f"ALTER TABLE {TABLE} ADD poll bigint CONSTRAINT about REFERENCES testapp_poll", f"constraint about on table {TABLE}"),
        (f"CREATE VIEW note AS SELECT id FROM {TABLE}", "rule _RETURN on view note"),
        (f"CREATE MATERIALIZED VIEW note AS SELECT id FROM {TABLE}", "rule _RETURN on materialized view note"),
        (f"CREATE FUNCTION note() RETURNS bigint BEGIN ATOMIC SELECT count(*) FROM {TABLE}; END", "function note()"),
        (f"CREATE FUNCTION note({TABLE}) RETURNS bigint LANGUAGE sql AS 'SELECT 1'", f"function note({TABLE})"),
        (f"CREATE RULE note AS ON DELETE TO {TABLE} DO INSTEAD NOTHING", f"rule note on table {TABLE}"),
        (
            f"CREATE TRIGGER note BEFORE UPDATE ON {TABLE} FOR EACH ROW "
            "EXECUTE FUNCTION suppress_redundant_updates_trigger()",
            f"trigger note on table {TABLE}",
        ),
        (f"ALTER TABLE {TABLE} ENABLE ROW LEVEL SECURITY", "row level security"),
        (f"CREATE POLICY note ON {TABLE}", f"policy note on table {TABLE}"),
        (f"CREATE PUBLICATION note FOR TABLE {TABLE}", f"publication of table {TABLE} in publication note"),
        (f"CREATE TABLE note () INHERITS ({TABLE})", "table note"),
        (f"CREATE TABLE note (); ALTER TABLE {TABLE} INHERIT note", "it inherits from note"),
        (f"CREATE UNIQUE INDEX note ON {TABLE} (request_id)", "unique index note"),
        (f"ALTER TABLE {TABLE} ADD CONSTRAINT note UNIQUE (request_id)", "unique index note"),
        (
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'pusherable_time'::regclass",
            "invalid index pusherable_time",
        ),
        (f"ALTER TABLE {TABLE} ALTER id SET CACHE 10", "its sequence has a cache"),
        (f"ALTER TABLE {TABLE} ALTER id SET CYCLE", "begins anew"),
        (f"ALTER TABLE {TABLE} ALTER id SET INCREMENT -1", "goes down"),
        (f"ALTER TABLE {TABLE} ALTER id DROP IDENTITY", "id is no identity column"),
        ("SET ROLE visitor", "you are not its owner, postgres; you may not create tables in its schema, public"),
    ],
)
@pytest.mark.parametrize("change", [convert, revert])
def test_what_would_be_lost_is_refused_by_name(change, statement, named):
    fill(10)
    if change is revert:
        if "note () INHERITS" in statement or "INHERIT note" in statement:
            return  # PostgreSQL refuses that itself
        convert("default", 1000)
    query(f"CREATE ROLE visitor; GRANT SELECT ON {TABLE}, {TABLE}_id_seq TO visitor")
    try:
        query(statement)
        with pytest.raises(PartitionError, match=f"because of: [^.]*{re.escape(named)}"):
            change("default")
        query("RESET ROLE")
        assert (bounds() == []) is (change is convert)
        assert is_as_migrate_made_it() is (change is convert) or "CREATE TABLE note" in statement
    finally:
        query("RESET ROLE")
        query(f"DROP OWNED BY visitor; DROP ROLE visitor; DROP PUBLICATION IF EXISTS note")
        query(f"DROP TABLE {TABLE} CASCADE; DROP TABLE IF EXISTS {'note' if 'CREATE TABLE' in statement else 'nothing'}")
        query("DROP FUNCTION IF EXISTS note()")
