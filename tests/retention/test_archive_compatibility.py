"""Archives are kept for years: what a version has written, all later ones have to read."""

import datetime as dt
import gzip
import hashlib
import json

from django.forms.models import model_to_dict

from tests.retention.archives import read

#: As version 1.0 writes an event. Do not change it: add another one beside it.
SCHEMA_1 = {
    "id": 1042,
    "occurred_at": "2026-11-22T10:00:00.250000Z",
    "action": "updated",
    "object_type": "blog.post",
    "object_pk": "17",
    "object_repr": "Harbour bridge to close",
    "user_pk": "3",
    "username": "ada",
    "remote_addr": "192.0.2.1",
    "request_id": "8f14e45f",
    "context": {"method": "POST", "path": "/posts/17/"},
    "snapshot": {"id": 17, "title": "Harbour bridge to close"},
    "changes": {"title": ["Harbour bridge closes", "Harbour bridge to close"]},
    "channels": ["post_17"],
}


def test_schema_1(tmp_path):
    data = gzip.compress(f"{json.dumps(SCHEMA_1)}\n".encode())
    (tmp_path / "old.jsonl.gz").write_bytes(data)
    manifest = {
        "schema": 1,
        "file": "old.jsonl.gz",
        "format": "jsonl.gz",
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "events": 1,
        "first_id": 1042,
        "last_id": 1042,
        "since": SCHEMA_1["occurred_at"],
        "until": SCHEMA_1["occurred_at"],
        "columns": list(SCHEMA_1),
        "database": "default",
        "pusherable": "1.0",
    }
    (tmp_path / "old.manifest.json").write_text(json.dumps(manifest))
    [[event]] = read(tmp_path / "old.jsonl.gz")
    assert model_to_dict(event) | {"id": event.pk} == SCHEMA_1 | {
        "occurred_at": dt.datetime(2026, 11, 22, 10, microsecond=250_000, tzinfo=dt.UTC)
    }
