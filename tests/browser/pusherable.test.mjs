import assert from "node:assert/strict";
import { test } from "node:test";

import pusherable from "../../pusherable/static/pusherable/pusherable.js";

const { authorizer, connectionOptions, duplicateFilter, words } = pusherable;

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
        enabledTransports: ["ws"],
    });
});

test("TLS is on unless the settings say otherwise", () => {
    assert.equal(connectionOptions({ host: "ws.example.org", port: "443", tls: "true" }).forceTLS, true);
    assert.deepEqual(connectionOptions({ host: "ws.example.org", port: "443" }).enabledTransports, ["ws", "wss"]);
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

/** What a handler that asks this `site` answers for each channel, and what the site was asked. */
async function ask(site, requests, settings = {}, editing = { wanted: new Set(), asked: new Set() }) {
    const [asked, again] = [[], []];
    const send = async (url, { body, headers }) => {
        const [names, edited] = [body.getAll("channel_names"), body.getAll("editing")];
        asked.push({ url, socket: body.get("socket_id"), names, edited, headers });
        return site(names);
    };
    const handler = authorizer({ authEndpoint: "/auth/", ...settings }, editing, (name) => again.push(name), send);
    const answers = await Promise.all(
        requests.map(
            ([socketId, channelName]) =>
                new Promise((resolve) => {
                    handler({ socketId, channelName }, (error, data) => resolve(error?.message ?? data));
                }),
        ),
    );
    return { asked, answers, again };
}

const yes = async (names) => Response.json(Object.fromEntries(names.map((name) => [name, { auth: name }])));

test("all channels of a moment are asked for at once", async () => {
    const settings = { csrfHeader: "X-CSRFToken", csrfToken: "abc" };
    const { asked, answers } = await ask(yes, [["1.1", "a"], ["1.1", "b"]], settings);
    assert.deepEqual(asked, [
        { url: "/auth/", socket: "1.1", names: ["a", "b"], edited: [], headers: { "X-CSRFToken": "abc" } },
    ]);
    assert.deepEqual(answers, [{ auth: "a" }, { auth: "b" }]);
});

test("the site is told on which channels the user edits, and it is kept what it was told", async () => {
    const editing = { wanted: new Set(["b", "c"]), asked: new Set(["a"]) };
    const { asked } = await ask(yes, [["1.1", "a"], ["1.1", "b"]], {}, editing);
    assert.deepEqual(asked.map(({ names, edited }) => [names, edited]), [[["a", "b"], ["b"]]]);
    assert.deepEqual([...editing.asked], ["b"]);
});

test("more than a hundred are asked for in turns, and each socket by itself", async () => {
    const names = Array.from({ length: 150 }, (_, number) => ["1.1", `c${number}`]);
    const { asked, answers } = await ask(yes, [...names, ["2.2", "d"]]);
    assert.deepEqual(asked.map(({ socket, names }) => [socket, names.length]), [["1.1", 100], ["1.1", 50], ["2.2", 1]]);
    assert.deepEqual(answers.at(-1), { auth: "d" });
});

test("what is refused, and what cannot be asked, is an error for that channel", async () => {
    const some = async () => Response.json({ a: { auth: "x" }, b: null });
    assert.deepEqual((await ask(some, [["1.1", "a"], ["1.1", "b"]])).answers, [
        { auth: "x" },
        "This user may not subscribe to the channel.",
    ]);
});

test("the site is asked again where it gave no answer, but not where it refused", async (t) => {
    t.mock.timers.enable({ apis: ["setTimeout"] });
    const answer = (status) => async () => new Response("", { status });
    const offline = async () => Promise.reject(new Error("offline"));
    for (const [site, problem, expected] of [
        [offline, "offline", ["a", "b"]],
        [answer(503), "The site answered 503.", ["a", "b"]],
        [answer(429), "The site answered 429.", ["a", "b"]],
        [answer(403), "The site answered 403.", []],
    ]) {
        const asking = ask(site, [["1.1", "a"], ["1.1", "b"]]);
        t.mock.timers.tick(0);
        const { answers, again } = await asking;
        assert.deepEqual(answers, [problem, problem]);
        assert.deepEqual(again, []);
        t.mock.timers.tick(14_000);
        assert.deepEqual(again, expected);
    }
});
