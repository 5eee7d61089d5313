/**
 * Live events for the pages of django-pusherable: a classic script without dependencies. The template tag
 * `pusherable_script` includes it after pusher-js, with the settings of the connection as data attributes.
 * What a page subscribes to is in its markup: elements inserted, moved, swapped or removed need no code.
 *
 *     <pusherable-subscribe data-channel="poll_17" data-events="update view" hidden></pusherable-subscribe>
 *
 * Every event calls the page's `pusherable_notify(event, data)`, if it has one, and dispatches a bubbling
 * `pusherable:event` from the element, with {event, channel, data} as its detail.
 *
 * The other scripts share the connection through `window.pusherable`, which is there once the element is defined:
 *
 *     const leave = pusherable.join(channel, (event, data) => { ... });   // also hears `pusher:...` events
 *     pusherable.edit(channel, true);   // on this presence channel, the user is one who edits; or no longer
 *     const isNew = pusherable.duplicateFilter();   // tells an event's first copy from later ones, by its id
 */
(() => {
    "use strict";

    const SUBSCRIBED = "pusher:subscription_succeeded";
    const PAUSE = 10_000 + 4_000 * Math.random(); // ms; pages differ, so that not all come at once

    /**
     * The script tag's data attributes; host, port and tls only where the server is not Pusher's own, and the
     * other three only where the site includes `pusherable.urls`.
     * @typedef {{key?: string, cluster?: string, host?: string, port?: string, tls?: string,
     *     authEndpoint?: string, csrfHeader?: string, csrfToken?: string}} Settings
     * @typedef {(event: string, data: any) => void} Listener
     *
     * The presence channels on which the user is to count as editing, and those where the site was asked so.
     * @typedef {{wanted: Set<string>, asked: Set<string>}} Editing
     */

    /**
     * What pusher-js is told about the connection.
     * @param {Settings} settings
     * @param {Editing} editing
     * @param {(name: string) => void} again
     */
    function connectionOptions(settings, editing, again) {
        const { cluster, host, port, tls, authEndpoint } = settings;
        const customHandler = authorizer(settings, editing, again);
        const options = authEndpoint ? { channelAuthorization: { customHandler } } : {};
        if (!host) {
            return { ...options, cluster };
        }
        return {
            ...options,
            cluster: "", // required, but without effect where there is a host
            wsHost: host,
            wsPort: Number(port),
            wssPort: Number(port),
            forceTLS: tls !== "false",
            // The fallbacks over HTTP would ask Pusher's own servers, and one without TLS does not answer with it.
            enabledTransports: tls === "false" ? ["ws"] : ["ws", "wss"],
        };
    }

    /**
     * Asks the site whether this page may join a channel: once for all channels of a moment, up to a hundred.
     * What the site did not answer is to be tried `again`.
     * @param {Settings} settings
     * @param {Editing} editing
     * @param {(name: string) => void} again
     * @param {typeof fetch} send
     */
    function authorizer(settings, editing, again, send = (...request) => fetch(...request)) {
        const { authEndpoint, csrfHeader, csrfToken } = settings;
        const most = 100;
        let waiting = [];

        function ask(requests) {
            const body = new URLSearchParams({ socket_id: requests[0].socketId });
            for (const { channelName } of requests) {
                body.append("channel_names", channelName);
                editing.asked.delete(channelName);
                if (editing.wanted.has(channelName)) {
                    body.append("editing", channelName);
                    editing.asked.add(channelName);
                }
            }
            const headers = csrfHeader && csrfToken ? { [csrfHeader]: csrfToken } : {};
            return send(authEndpoint, { method: "POST", body, headers });
        }

        async function askForAll() {
            const [first] = waiting; // after a reconnect, others may be for another socket
            const requests = waiting.filter(({ socketId }) => socketId === first.socketId).slice(0, most);
            waiting = waiting.filter((request) => !requests.includes(request));
            if (waiting.length) {
                setTimeout(askForAll);
            }
            let answers = {};
            let problem = new Error("This user may not subscribe to the channel.");
            let response = null;
            try {
                response = await ask(requests);
                if (!response.ok) {
                    throw new Error(`The site answered ${response.status}.`);
                }
                answers = await response.json();
            } catch (error) {
                problem = error;
            }
            requests.forEach(({ channelName, callback }) => {
                const answer = answers[channelName];
                callback(answer ? null : problem, answer ?? null);
            });
            if (!response || response.status === 429 || response.status >= 500) {
                setTimeout(() => requests.forEach(({ channelName }) => again(channelName)), PAUSE);
            }
        }

        return ({ socketId, channelName }, callback) => {
            if (waiting.push({ socketId, channelName, callback }) === 1) {
                setTimeout(askForAll);
            }
        };
    }

    /** The names in a space separated attribute. */
    function words(/** @type {string | undefined} */ text) {
        return (text ?? "").split(/\s+/).filter(Boolean);
    }

    /**
     * Tells an event's first copy from later ones (delivery is at least once) by the last `limit` ids.
     * @returns {(id: unknown) => boolean} Whether an id is new; what has none always is.
     */
    function duplicateFilter(limit = 500) {
        const seen = new Set();
        return (id) => {
            if (id === undefined || id === null) {
                return true;
            }
            const isNew = !seen.has(id);
            seen.add(id);
            if (seen.size > limit) {
                seen.delete(seen.values().next().value); // the oldest
            }
            return isNew;
        };
    }

    /**
     * Connects again within 15 seconds after the server is back, when what was missed is sent: pusher-js itself
     * waits up to a minute between two attempts.
     */
    function keepTrying(pusher) {
        setInterval(() => {
            if (["connecting", "unavailable"].includes(pusher.connection.state)) {
                pusher.disconnect();
                pusher.connect();
            }
        }, PAUSE);
    }

    /**
     * The page's one connection, opened at the first subscription. `join` returns how to leave.
     * @param {Settings} settings
     * @returns {{join: (name: string, listener: Listener) => () => void,
     *     edit: (name: string, isEditing: boolean) => void}}
     */
    function connection(settings) {
        let pusher = null;
        let warned = false;
        /** @type {Map<string, Set<Listener>>} */
        const channels = new Map();
        /** @type {Editing} */
        const editing = { wanted: new Set(), asked: new Set() };

        function connect() {
            if (typeof window.Pusher === "function") {
                pusher = new window.Pusher(settings.key, connectionOptions(settings, editing, again));
                keepTrying(pusher);
            } else if (!warned) {
                warned = true;
                console.warn("pusherable: pusher-js is not loaded, so this page receives no live events.");
            }
            return pusher;
        }

        function subscribe(name, listeners = new Set()) {
            channels.set(name, listeners);
            pusher.subscribe(name).bind_global((event, data) => {
                // A listener may swap elements: those that it adds or removes have no part in this event.
                [...listeners].forEach((listener) => listeners.has(listener) && listener(event, data));
                if (event === SUBSCRIBED) {
                    renew(name); // what is wanted may have changed while the site was asked
                }
            });
            return listeners;
        }

        /** pusher-js itself does not ask again before the next connection. */
        function again(name) {
            if (channels.has(name)) {
                pusher.subscribe(name); // without effect where that has been done meanwhile
            }
        }

        /** Subscribes anew where the user is now to be another member: who one is, is part of the subscription. */
        function renew(name) {
            if (channels.has(name) && pusher.channel(name)?.subscribed) {
                if (editing.wanted.has(name) !== editing.asked.has(name)) {
                    pusher.unsubscribe(name);
                    subscribe(name, channels.get(name));
                }
            }
        }

        function edit(name, isEditing) {
            if (isEditing) {
                editing.wanted.add(name);
            } else {
                editing.wanted.delete(name);
            }
            queueMicrotask(() => renew(name)); // an element that is moved leaves and joins in the same breath
        }

        function join(name, listener) {
            if (!name || !(pusher ?? connect())) {
                return () => {};
            }
            const listeners = channels.get(name) ?? subscribe(name);
            listeners.add(listener);
            const { subscribed, members } = pusher.channel(name);
            if (subscribed) {
                // To one that comes later, too, say that the channel is joined, and who is there.
                queueMicrotask(() => listeners.has(listener) && listener(SUBSCRIBED, members));
            }
            return () => {
                listeners.delete(listener);
                // Not at once: an element that is moved or swapped leaves and joins in the same breath.
                queueMicrotask(() => {
                    if (channels.get(name)?.size === 0) {
                        channels.delete(name);
                        pusher.unsubscribe(name);
                    }
                });
            };
        }

        return { join, edit };
    }

    /** @type {Listener} */
    function notify(event, data) {
        try {
            // The bare name finds a `const pusherable_notify` too, which is no property of the window.
            if (typeof pusherable_notify === "function") {
                pusherable_notify(event, data);
            }
        } catch (error) {
            reportError(error); // as uncaught, but the other elements still get their event
        }
    }

    /** @param {Settings} settings */
    function defineElement(settings) {
        if (customElements.get("pusherable-subscribe")) {
            return; // the script is on the page twice
        }
        const { join, edit } = connection(settings);
        window.pusherable = Object.freeze({ duplicateFilter, edit, join });

        class PusherableSubscribe extends HTMLElement {
            static observedAttributes = ["data-channel", "data-events"];
            #isNew = duplicateFilter();
            #leave = null;

            connectedCallback() {
                const channel = this.dataset.channel;
                const wanted = words(this.dataset.events);
                this.#leave = join(channel, (event, data) => {
                    if (wanted.includes(event) && this.#isNew(data?.event_id)) {
                        notify(event, data);
                        const init = { bubbles: true, composed: true, detail: { event, channel, data } };
                        this.dispatchEvent(new CustomEvent("pusherable:event", init));
                    }
                });
            }

            disconnectedCallback() {
                this.#leave?.();
                this.#leave = null;
            }

            attributeChangedCallback() {
                if (this.#leave) {
                    this.disconnectedCallback();
                    this.connectedCallback();
                }
            }
        }
        customElements.define("pusherable-subscribe", PusherableSubscribe);
    }

    if (typeof document === "undefined") {
        module.exports = { authorizer, connectionOptions, duplicateFilter, words }; // to the tests, in node
        return;
    }
    const settings = document.currentScript.dataset; // read now: in a callback there is no current script
    if (window.Pusher || document.readyState === "complete") {
        defineElement(settings);
    } else {
        window.addEventListener("load", () => defineElement(settings)); // pusher-js may be on its way
    }
})();
