import assert from "node:assert/strict";
import { test } from "node:test";

import activity from "../../pusherable/static/pusherable/activity.js";

const { ago, moment, newcomers } = activity;
const [SECOND, MINUTE, HOUR, DAY] = [1000, 60_000, 3_600_000, 86_400_000];

test("how long ago it was", () => {
    const expected = [
        [0, "now"],
        [59.9 * SECOND, "now"],
        [60 * SECOND, "1 minute ago"],
        [119 * SECOND, "1 minute ago"],
        [59.9 * MINUTE, "59 minutes ago"],
        [60 * MINUTE, "1 hour ago"],
        [23.9 * HOUR, "23 hours ago"],
        [47.9 * HOUR, "1 day ago"],
        [30 * DAY, "30 days ago"],
        [31 * DAY, "1 month ago"],
        [364 * DAY, "11 months ago"],
        [366 * DAY, "1 year ago"],
        [1000 * DAY, "2 years ago"],
    ];
    for (const [age, words] of expected) {
        assert.equal(ago(age, "en"), words);
    }
    assert.equal(ago(5 * MINUTE, "de"), "vor 5 Minuten");
    assert.equal(ago(0, "de"), "jetzt");
});

test("what is yet to come, because a clock is wrong, is now", () => {
    assert.equal(ago(-DAY, "en"), "now");
});

test("a moment with an offset as Django writes it", () => {
    assert.equal(moment("2026-11-22T15:30:00+0530"), Date.UTC(2026, 10, 22, 10));
    assert.equal(moment("2026-11-22T06:30:00.5-03:30"), Date.UTC(2026, 10, 22, 10, 0, 0, 500));
    assert.ok(Number.isNaN(moment("yesterday")));
    assert.ok(Number.isNaN(moment(undefined)));
});

test("what is new is what was not shown, and could have been", () => {
    const shown = [9, 7, 5];
    assert.deepEqual(newcomers([11, 10, 9], shown, true), [11, 10]);
    assert.deepEqual(newcomers([9, 8, 7], shown, true), [8]); // committed after a later one
    assert.deepEqual(newcomers([9, 7, 4], shown, true), []); // one that has moved up, because another has gone
    assert.deepEqual(newcomers([9, 7, 5, 4], shown, false), [4]);
    assert.deepEqual(newcomers([1], [], false), [1]);
});
