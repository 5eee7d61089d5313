import assert from "node:assert/strict";
import { test } from "node:test";

import changes from "../../pusherable/static/pusherable/changes.js";

const { isOwn, meaning, supersedes } = changes;

test("an object is changed by an update of its fields, and deleted", () => {
    assert.equal(meaning("updated", { changed: ["question"] }), "changed");
    assert.equal(meaning("updated", { changed: [] }), null);
    assert.equal(meaning("updated", { changed: [], truncated: true }), "changed");
    assert.equal(meaning("updated", {}), "changed");
    assert.equal(meaning("updated", null), "changed");
    assert.equal(meaning("deleted", {}), "deleted");
    for (const event of ["update", "view", "delete", "pusher:member_added"]) {
        assert.equal(meaning(event, { changed: ["question"] }), null);
    }
});

test("a warning gives way only to one that says more", () => {
    const order = [undefined, "changed", "changed_by", "gone", "deleted", "deleted_by"];
    order.slice(1).forEach((text, index) => {
        order.forEach((shown, other) => {
            assert.equal(supersedes(text, shown), index + 1 > other || (text === shown && text === "changed_by"));
        });
    });
});

test("a form of the page is posted to the page's own address", () => {
    const form = (attributes) => ({ getAttribute: (name) => attributes[name] ?? null, action: "a field", method: "" });
    const page = "https://example.com/polls/1/?next=/";
    for (const action of [undefined, "", "?a=b", "/polls/1/", "https://example.com/polls/1/#top"]) {
        assert.equal(isOwn(form({ method: "POST", action }), page), true, action);
    }
    assert.equal(isOwn(form({ method: "post", action: "/polls/1/delete/" }), page), false);
    assert.equal(isOwn(form({ method: "post", action: "https://example.org/polls/1/" }), page), false);
    assert.equal(isOwn(form({ method: "get" }), page), false);
    assert.equal(isOwn(form({}), page), false);
});
