import assert from "node:assert/strict";
import { test } from "node:test";

import viewers from "../../pusherable/static/pusherable/viewers.js";

const { announcement, avatar, colour, initials, news, parseMember, parts, people } = viewers;

const texts = {
    language: "en",
    name: "{name}",
    editing: "{name} is editing",
    editing_many: "{names} are editing",
    came: "{name} is here",
    left: "{name} has left",
    stopped: "{name} is no longer editing",
    count: "People here now: {count}",
};

/** The people as short words: `5*` edits, and `>5` is this user. */
const short = (list) => list.map(({ key, editing, me }) => `${me ? ">" : ""}${key}${editing ? "*" : ""}`).join(" ");
const members = (...ids) => new Map(ids.map((id) => [id, { name: `Name ${id}` }]));

test("a member is a user, and edits or does not", () => {
    assert.deepEqual(parseMember("5"), { key: "5", editing: false });
    assert.deepEqual(parseMember("5!edit"), { key: "5", editing: true });
    assert.deepEqual(parseMember("5%21edit"), { key: "5%21edit", editing: false });
});

test("the tabs of a person are one, in whichever order they came", () => {
    assert.equal(short(people(members("5", "5!edit", "7"), [], "7")), ">7 5*");
    assert.equal(short(people(members("5!edit", "7", "5"), [], "7")), ">7 5*");
});

test("who is here keeps their place, and who comes is last", () => {
    let now = people(members("9", "3", "5"), [], "5");
    assert.equal(short(now), ">5 9 3");
    now = people(members("1", "3", "5", "9!edit"), now, "5");
    assert.equal(short(now), ">5 9* 3 1");
    now = people(members("1", "3", "5"), now, "5");
    assert.equal(short(people(members("1", "3", "5", "9"), now, "5")), ">5 3 1 9");
    assert.equal(short(people(members("3"), now, "5")), "3");
});

test("a name is text whatever it is, and somebody without one has the key", () => {
    const info = new Map([["1", { name: " Ada " }], ["2", {}], ["3", null], ["4", { name: 4 }], ["5", { name: "  " }]]);
    assert.deepEqual(people(info, [], "").map(({ name }) => name), ["Ada", "2", "3", "4", "5"]);
});

test("only addresses of the web or of the site are avatars", () => {
    for (const url of ["https://example.com/a.png", "HTTP://example.com/a", "/media/a.png", "//cdn.example.com/a"]) {
        assert.equal(avatar(url), url);
    }
    for (const url of ["javascript:alert(1)", " /a", "data:image/png;base64,", "a.png", "", 5, null, undefined, {}]) {
        assert.equal(avatar(url), null);
    }
});

test("initials are the first letters of the first and the last word", () => {
    const expected = {
        "Ada Lovelace": "AL",
        "augusta ada king": "AK",
        ada: "A",
        "  J. R. R. Tolkien ": "JT",
        "Émile Zola": "ÉZ",
        "E\u0301mile": "E\u0301",
        "山田 太郎": "山太",
        "עדה לבלייס": "על",
        "𝒜lan": "𝒜",
        "</script><img src=x>": "SX",
        "\u202egnp.exe": "GE",
        "👩‍🚀": "?",
        "": "?",
    };
    for (const [name, letters] of Object.entries(expected)) {
        assert.equal(initials(name), letters, name);
    }
});

test("the colour of a person is one of eight, and depends on nothing but the key", () => {
    const keys = Array.from({ length: 1000 }, (_, number) => String(number));
    assert.deepEqual([...new Set(keys.map(colour))].sort(), [0, 1, 2, 3, 4, 5, 6, 7]);
    assert.equal(colour("5"), colour("5"));
});

const story = (before, after) =>
    news(people(before, [], "me"), people(after, [], "me")).map(([what, { key }]) => `${what} ${key}`);

test("what is told of others is the difference between two moments", () => {
    assert.deepEqual(story(members("me", "1"), members("me", "1", "2", "3!edit")), ["came 2", "editing 3"]);
    assert.deepEqual(story(members("1!edit", "2", "3!edit"), members("1", "2!edit")), ["stopped 1", "editing 2", "left 3"]);
    assert.deepEqual(story(members("1"), members("1")), []);
    assert.deepEqual(story(members("me"), members("me!edit")), []);
});

test("some news are told one by one, many as a number", () => {
    const items = news([], people(members("1", "2!edit"), [], ""));
    assert.equal(announcement(items, 3, texts), "\u2068Name 1\u2069 is here, \u2068Name 2!edit\u2069 is editing");
    assert.equal(announcement([...items, ...items], 5, texts), "People here now: 5");
});

test("a name cannot turn what stands around it, nor be a placeholder", () => {
    const hostile = new Map([["1", { name: "\u202e$& {name} \u2069" }]]);
    assert.equal(announcement(news([], people(hostile, [], "")), 1, texts), "\u2068$& {name} \u2069 is here");
});

test("a sentence about several names them as its language does", () => {
    const join = (...args) => parts(...args).map(({ name, text }) => (name ? `<${text}>` : text)).join("");
    assert.equal(join("editing", ["{name}"], texts), "<{name}> is editing");
    assert.equal(join("editing_many", ["A", "B", "C"], texts), "<A>, <B>, and <C> are editing");
    assert.equal(join("editing_many", ["A", "B"], { ...texts, language: "de" }), "<A> und <B> are editing");
    assert.equal(join("name", ["A"], texts), "<A>");
});
