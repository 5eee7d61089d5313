"""A log of realistic size and age: ``python -m benchmarks.generate 1000000``.

It is added to what the database of ``DJANGO_SETTINGS_MODULE`` has, on PostgreSQL or SQLite. There is an
event every 15 seconds until now, of about 500 bytes. A third of them are by 20 users, each of the others has
50 events or so; a fifth are of 20 objects, each of the others has some 20 events. So a page that is full in a
log of 10,000 events is full in one of 1,000,000, too. The oldest 60 are an import.
"""

import argparse
from typing import Any

#: Events that wait to be sent: the newest ones. One in ten was given up.
QUEUE = 1_000
BODY = "The bridge. " * 10
#: Of each kind, so many are frequent.
FREQUENT = 20

FILL = """
    INSERT INTO pusherable_accessevent
        (occurred_at, action, object_type, object_pk, object_repr, user_pk, username, remote_addr, request_id,
         context, snapshot, changes, channels)
    WITH RECURSIVE numbers(n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM numbers WHERE n < {last}),
    facts AS (
        SELECT n,
               CASE WHEN n % 3 = 0 THEN n / 3 % {frequent} ELSE {frequent} + n % {users} END AS person,
               CASE WHEN n % 5 = 0 THEN n / 5 % {frequent} ELSE {frequent} + n % {objects} END AS thing
        FROM numbers)
    SELECT {time},
           CASE WHEN n <= 60 THEN 'imported' WHEN n % 10 < 6 THEN 'view' WHEN n % 10 < 8 THEN 'update' ELSE 'updated' END,
           CASE WHEN thing % 2 = 0 THEN 'benchmarks.article' ELSE 'clinic.patient' END,
           CAST(thing AS text), 'Harbour bridge ' || thing || ' to close', CAST(person AS text), 'editor' || person,
           '10.0.' || (person / 250) || '.' || (person % 250), md5(CAST(n AS text)),
           {json}('{{"method": "GET", "path": "/blog/' || thing || '/", "user_agent": "Mozilla/5.0 (X11; '
               || 'Linux x86_64) Gecko/20100101 Firefox/140.0"}}'),
           {json}('{{"id": ' || thing || ', "title": "Harbour bridge to close", "body": "{body}"}}'),
           {json}('{{}}'),
           {json}(CASE WHEN n % 50 = 0 THEN '[]' ELSE '["article_' || thing || '"]' END)
    FROM facts"""  # noqa: E501
DIALECT = {
    "postgresql": {"time": "now() - ({total} - n) * interval '15 seconds'", "json": "jsonb"},
    "sqlite": {
        "time": "strftime('%Y-%m-%d %H:%M:%f', 'now', (15 * (n - {total})) || ' seconds')",
        "json": "",
    },
}


def fill(using: str, events: int) -> None:
    """Record so many events, as the years would have done."""
    from django.db import connections
    from django.utils import timezone

    from pusherable.models import AccessEvent, Delivery
    from pusherable.retention import partitions

    connection = connections[using]
    dialect = DIALECT[connection.vendor]
    step = max(1, events // 20)
    with connection.cursor() as cursor:
        for first in range(1, events + 1, step):
            if partitions.is_partitioned(using):
                partitions.extend(using)
            cursor.execute(
                FILL.format(
                    first=first,
                    last=min(first + step - 1, events),
                    time=dialect["time"].format(total=events),
                    json=dialect["json"],
                    frequent=FREQUENT,
                    users=max(1, events // 75),
                    objects=max(1, events // 25),
                    body=BODY,
                )
            )
        waiting = AccessEvent.objects.using(using).newest().exclude(channels=[])[: min(QUEUE, step)]
        Delivery.objects.using(using).bulk_create(
            Delivery.of(event, failed_at=timezone.now() if number % 10 == 0 else None)
            for number, event in enumerate(waiting)
        )
        cursor.execute("VACUUM")
        cursor.execute("ANALYZE")


def main(arguments: Any = None) -> None:
    import django

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("events", type=int, help="how many events")
    parser.add_argument("--database", default="default", help="the alias of the database with the log")
    options = parser.parse_args(arguments)
    django.setup()
    fill(options.database, options.events)


if __name__ == "__main__":
    main()
