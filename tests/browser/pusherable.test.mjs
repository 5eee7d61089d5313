import assert from "node:assert/strict";
import { test } from "node:test";

import pusherable from "../../pusherable/static/pusherable/pusherable.js";

const { connectionOptions, duplicateFilter, words } = pusherable;

test("an app at Pusher connects to its cluster", () => {
    assert.deepEqual(connectionOptions({ key: "k", cluster: "eu" }), { cluster: "eu" });
});

test("a server of one's own is reached over WebSockets only, by host and port", () => {
    assert.deepEqual(connectionOptions({ key: "k", host: "127.0.0.1", port: "6001", tls: "false" }), {
        cluster: "",
        wsHost: "127.0.0.1",
        wsPort: 6001,
        wssPort: 6001,
        forceTLS: false,
        enabledTransports: ["ws", "wss"],
    });
});

test("TLS is on unless the settings say otherwise", () => {
    assert.equal(connectionOptions({ host: "ws.example.org", port: "443", tls: "true" }).forceTLS, true);
    assert.equal(connectionOptions({ host: "ws.example.org", port: "443" }).forceTLS, true);
});

test("event names are separated by any white space", () => {
    assert.deepEqual(words(" update  updated\n\tcreated "), ["update", "updated", "created"]);
    assert.deepEqual(words(""), []);
    assert.deepEqual(words(undefined), []);
});

test("the second copy of an event is a duplicate, for each filter of its own", () => {
    const isNew = duplicateFilter();
    assert.equal(isNew(7), true);
    assert.equal(isNew(7), false);
    assert.equal(isNew(8), true);
    assert.equal(isNew(7), false);
    assert.equal(duplicateFilter()(7), true);
});

test("what has no id is never a duplicate, and zero is an id", () => {
    const isNew = duplicateFilter();
    assert.deepEqual([undefined, undefined, null, null].map(isNew), [true, true, true, true]);
    assert.deepEqual([0, 0].map(isNew), [true, false]);
});

test("the memory is bounded: the oldest id is forgotten first", () => {
    const isNew = duplicateFilter(3);
    assert.deepEqual([1, 2, 3, 4].map(isNew), [true, true, true, true]);
    assert.deepEqual([4, 3, 2].map(isNew), [false, false, false]);
    assert.equal(isNew(1), true);
});
