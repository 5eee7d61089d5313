"""What is on the event table stays on it when it is divided, and Django finds nothing different."""

import re
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import connection, transaction

from pusherable.models import AccessEvent, Delivery
from pusherable.recording import record_access
from pusherable.retention import partitions
from pusherable.retention.conversion import convert, revert
from pusherable.retention.partitions import PartitionError
from tests.retention.tables import (
    ONLY_POSTGRESQL,
    TABLE,
    bounds,
    fill,
    is_as_migrate_made_it,
    properties,
    query,
    record,
    table,
)
from tests.testapp.models import Poll

__all__ = ["table"]

pytestmark = [ONLY_POSTGRESQL, pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("table")]


@pytest.fixture
def roles():
    query(
        "CREATE ROLE keeper; CREATE ROLE clerk; CREATE ROLE auditor; GRANT CREATE ON SCHEMA public TO keeper"
    )
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
        f"""CREATE INDEX "By Address 100%" ON {TABLE} (remote_addr, lower(username) DESC)
            INCLUDE (action) WITH (fillfactor = 70) WHERE username LIKE 'a%'""",
        "COMMENT ON INDEX \"By Address 100%\" IS 'Ours'",
        f"COMMENT ON INDEX {TABLE}_pkey IS 'The order of the log'",
        f"ALTER TABLE {TABLE} ADD CONSTRAINT known CHECK (action <> 'unknown')",
        f"ALTER TABLE {TABLE} ALTER request_id SET DEFAULT 'none', ALTER changes SET STORAGE EXTERNAL",
        f'ALTER TABLE {TABLE} ALTER username TYPE varchar(255) COLLATE "C"',
        f"ALTER TABLE {TABLE} ADD region text, ADD upper text GENERATED ALWAYS AS (upper(action)) STORED",
        f"ALTER TABLE {TABLE} DROP region",
        f"ALTER TABLE {TABLE} ALTER id SET INCREMENT 3 SET MAXVALUE 900000 RESTART WITH 77",
        # What a new table would have.
        "ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO auditor",
        "ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO auditor",
    ):
        query(statement)
    before = properties()
    ids = []
    for change, arguments in ((convert, ("default", 1000)), (revert, ("default",))):
        ids.append(record())
        change(*arguments)
        assert properties() == before
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
    everything = (
        "SELECT relname, relnamespace::regnamespace::text FROM pg_class WHERE relname LIKE 'pusherable_a%'"
    )
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


NO_FUNCTION = "suppress_redundant_updates_trigger"
#: What both kinds of table can have, and what is named then.
OBSTACLES = [
    (
        f"CREATE TABLE notes.note (event bigint CONSTRAINT about REFERENCES {TABLE})",
        "constraint about on table notes.note",
    ),
    (
        f"ALTER TABLE {TABLE} ADD poll bigint CONSTRAINT about REFERENCES testapp_poll",
        f"constraint about on table {TABLE}",
    ),
    (f"CREATE VIEW notes.note AS SELECT id FROM {TABLE}", "rule _RETURN on view notes.note"),
    (
        f"CREATE MATERIALIZED VIEW notes.note AS SELECT id FROM {TABLE}",
        "rule _RETURN on materialized view notes.note",
    ),
    (
        f"CREATE FUNCTION notes.number() RETURNS bigint BEGIN ATOMIC SELECT count(*) FROM {TABLE}; END",
        "function notes.number()",
    ),
    (
        f"CREATE FUNCTION notes.number({TABLE}) RETURNS bigint LANGUAGE sql AS 'SELECT 1'",
        f"function notes.number({TABLE})",
    ),
    (f"CREATE RULE note AS ON DELETE TO {TABLE} DO INSTEAD NOTHING", f"rule note on table {TABLE}"),
    (
        f"CREATE TRIGGER note AFTER INSERT ON {TABLE} FOR EACH ROW EXECUTE FUNCTION {NO_FUNCTION}()",
        f"trigger note on table {TABLE}",
    ),
    (f"ALTER TABLE {TABLE} ENABLE ROW LEVEL SECURITY", "row level security"),
    (f"CREATE POLICY note ON {TABLE}", f"policy note on table {TABLE}"),
    (f"CREATE PUBLICATION note FOR TABLE {TABLE}", f"publication of table {TABLE} in publication note"),
    (
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'pusherable_time'::regclass",
        "invalid index pusherable_time",
    ),
    (f"ALTER TABLE {TABLE} ALTER id SET CACHE 10", "its sequence has a cache"),
    (f"ALTER TABLE {TABLE} ALTER id SET CYCLE", "begins anew"),
    (f"ALTER TABLE {TABLE} ALTER id SET INCREMENT -1", "goes down"),
    (f"ALTER TABLE {TABLE} ALTER id DROP IDENTITY", "id is no identity column"),
    ("SET ROLE visitor", "you are not its owner, postgres; you may not create tables in its schema, public"),
]
OF_PLAIN_TABLES = [
    (f"CREATE TABLE notes.note () INHERITS ({TABLE})", "table notes.note"),
    (f"CREATE TABLE notes.note (); ALTER TABLE {TABLE} INHERIT notes.note", "it inherits from notes.note"),
    (f"CREATE UNIQUE INDEX note ON {TABLE} (id, request_id)", "unique index note"),
    (f"ALTER TABLE {TABLE} ADD CONSTRAINT note UNIQUE (id, request_id)", "unique index note"),
]


@pytest.fixture
def visitor():
    query(f"CREATE SCHEMA notes; CREATE ROLE visitor; GRANT SELECT ON {TABLE}, {TABLE}_id_seq TO visitor")
    yield
    query("RESET ROLE")
    query("DROP SCHEMA notes CASCADE; DROP PUBLICATION IF EXISTS note")
    query("DROP OWNED BY visitor; DROP ROLE visitor")


@pytest.mark.parametrize(("statement", "named"), OBSTACLES + OF_PLAIN_TABLES)
def test_what_would_be_lost_is_refused_by_name(visitor, statement, named):
    fill(10)
    query(statement)
    with pytest.raises(PartitionError, match=f"because of: [^.]*{re.escape(named)}"):
        convert("default")
    assert is_as_migrate_made_it()


@pytest.mark.parametrize(("statement", "named"), OBSTACLES)
def test_what_would_be_lost_on_the_way_back_is_refused_by_name(visitor, statement, named):
    fill(10)
    convert("default", 1000)
    query(f"GRANT SELECT ON {TABLE}, {TABLE}_id_seq TO visitor")
    query(statement)
    with pytest.raises(PartitionError, match=f"because of: [^.]*{re.escape(named)}"):
        revert("default")
    query("RESET ROLE")
    assert partitions.is_partitioned("default")
    assert AccessEvent.objects.count() == 10


def test_events_are_recorded_in_every_way(woken):
    convert("default", 1000)
    poll = Poll.objects.create(question="What's up?", pub_date="2013-08-08T11:16:24Z")
    events = [record_access(poll, "view")]
    with transaction.atomic():
        events.append(record_access(poll, "view"))
        events.append(AccessEvent.objects.create(action="view"))
    with transaction.atomic():
        record_access(poll, "view")
        transaction.set_rollback(True)
    events += AccessEvent.objects.bulk_create([AccessEvent(action="view"), AccessEvent(action="view")])
    assert [event.pk for event in events] == [1, 2, 3, 5, 6]
    assert list(Delivery.objects.order_by("pk").values_list("pk", flat=True)) == [1, 2]
    revert("default")
    assert [event.pk for event in AccessEvent.objects.order_by("pk")] == [1, 2, 3, 5, 6]


def explain(events):
    plan = events.explain()
    assert "Seq Scan" not in plan
    assert "Sort" not in plan
    return sorted(
        set(re.findall(r"Index (?:Only )?Scan (?:Backward )?using (pusherable_[a-z]+?)(?:_4000)? ", plan))
    )


def test_queries_find_their_way_by_the_same_indexes():
    fill(2500)
    query(f"UPDATE {TABLE} SET action = 'a' || id % 50, object_type = 't' || id % 20, user_pk = id % 100")
    query("SET enable_seqscan TO off")
    try:
        for events in (
            AccessEvent.objects.newest()[:10],
            AccessEvent.objects.filter(pk=17),
            AccessEvent.objects.filter(object_type="t1", object_pk="21").newest()[:10],
            AccessEvent.objects.filter(object_type="t1").newest()[:10],
            AccessEvent.objects.filter(user_pk="7").newest()[:10],
            AccessEvent.objects.filter(action="a1").newest()[:10],
        ):
            plan = explain(events)
            convert("default", 1000)
            divided = explain(events)
            revert("default")
            assert (plan, divided) == (plan, plan)
    finally:
        query("RESET enable_seqscan")


def test_migrations_run_on_a_divided_table_as_on_a_plain_one():
    def migrate(*arguments):
        call_command("migrate", "pusherable", *arguments, verbosity=0)

    before = properties()
    fill(10)
    convert("default", 1000)
    migrate("0001")
    assert properties() != before
    migrate()
    assert properties() == before
    assert query(f"SELECT count(*) FROM pg_index WHERE indrelid = '{TABLE}_2000'::regclass") == [(7,)]
    assert AccessEvent.objects.count() == 10
    call_command("makemigrations", "pusherable", check=True, dry_run=True, verbosity=0)
    migrate("zero")
    assert not query(f"SELECT relname FROM pg_class WHERE relname LIKE '{TABLE}%'")
    migrate()
    assert is_as_migrate_made_it()


def test_a_flush_as_after_each_test_of_a_project_empties_all_partitions():
    convert("default", 1000)
    for reset, next_id in ((False, 11), (True, 1)):
        fill(10)
        call_command(
            "flush", verbosity=0, interactive=False, reset_sequences=reset, inhibit_post_migrate=True
        )
        assert not AccessEvent.objects.exists()
        assert record() == next_id
    assert len(bounds()) == 5


def test_sequences_can_be_reset_to_what_is_there():
    convert("default", 1000)
    AccessEvent(pk=1234, action="view").save(force_insert=True)
    out = StringIO()
    call_command("sqlsequencereset", "pusherable", stdout=out, no_color=True)
    query(out.getvalue())
    assert record() == 1235
    sequences = [one for one in connection.introspection.sequence_list() if one["table"] == TABLE]
    assert sequences == [{"name": f"{TABLE}_id_seq", "table": TABLE, "column": "id"}]
