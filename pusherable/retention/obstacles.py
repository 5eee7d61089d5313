"""What keeps the event table from being divided, or from being made a plain one again."""

from typing import Final

from pusherable.retention.partitions import PartitionError, rows, table_name


def check(using: str) -> None:
    """Refuse what would fail, or lose something, or leave others with one partition instead of all."""
    reasons = [text for (text,) in rows(using, _OBSTACLES, {"table": table_name(using)})]
    if reasons:
        raise PartitionError(f"The event table has to stay as it is, because of: {'; '.join(reasons)}.")


_OBSTACLES: Final = """
    WITH event AS (SELECT * FROM pg_class WHERE oid = to_regclass(%(table)s))
    SELECT 'you are not its owner, ' || pg_get_userbyid(relowner) FROM event
    WHERE NOT pg_has_role(relowner, 'USAGE')
    UNION ALL SELECT 'you may not create tables in its schema, ' || relnamespace::regnamespace FROM event
    WHERE NOT has_schema_privilege(relnamespace, 'CREATE')
    UNION ALL SELECT 'it is no plain table, and not partitioned by ranges of id alone' FROM event
    WHERE relkind <> 'r' AND pg_get_partkeydef(oid) IS DISTINCT FROM 'RANGE (id)'
    UNION ALL SELECT 'row level security' FROM event WHERE relrowsecurity
    UNION ALL SELECT 'id is no identity column' FROM event JOIN pg_attribute ON attrelid = oid
    WHERE attname = 'id' AND attidentity = ''
    UNION ALL SELECT 'its sequence has a cache, goes down, or begins anew' FROM pg_sequence
    WHERE seqrelid = pg_get_serial_sequence(%(table)s, 'id')::regclass
        AND (seqcache > 1 OR seqincrement < 1 OR seqcycle)
    UNION ALL SELECT concat_ws(
        ' ', CASE WHEN indisvalid THEN 'unique' ELSE 'invalid' END, 'index', indexrelid::regclass
    )
    FROM pg_index JOIN event ON indrelid = oid WHERE NOT indisprimary AND (indisunique OR NOT indisvalid)
    UNION ALL SELECT 'it inherits from ' || inhparent::regclass FROM pg_inherits JOIN event ON inhrelid = oid
    UNION ALL SELECT DISTINCT pg_describe_object(classid, objid, objsubid)
    FROM event JOIN pg_depend ON refclassid = 'pg_class'::regclass AND refobjid = event.oid
        OR refclassid = 'pg_type'::regclass AND refobjid = event.reltype
    LEFT JOIN pg_class child ON classid = 'pg_class'::regclass AND objid = child.oid
    LEFT JOIN pg_constraint ON classid = 'pg_constraint'::regclass AND objid = pg_constraint.oid
    LEFT JOIN pg_trigger ON classid = 'pg_trigger'::regclass AND objid = pg_trigger.oid
    WHERE classid NOT IN ('pg_type'::regclass, 'pg_attrdef'::regclass, 'pg_statistic_ext'::regclass)
        AND objid <> event.oid  -- a partitioned table's column and the table itself
        AND coalesce(child.relkind NOT IN ('i', 'I', 'S', 't') AND NOT child.relispartition, true)
        AND coalesce(conrelid <> event.oid OR contype NOT IN ('p', 'n', 'c'), true)
        AND NOT coalesce(tgisinternal, false)
"""
