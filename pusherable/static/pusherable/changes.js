/**
 * The warning of an update page that its object is no longer what the page shows; viewers.js puts it there.
 * An event tells at once. What no event told, because it happened before the page listened or while the
 * connection was lost, the site is asked for after every subscription.
 */
(() => {
    "use strict";

    const TOGETHER = 250; // ms in which subscriptions are followed by one question to the site
    const LEAVING = 10_000; // ms after which a page that has sent a form is no longer taken to be on its way
    const RETRY = 10_000; // ms until the site is asked again where it did not answer

    /**
     * What an event of the object means: "changed", "deleted", or null. An `updated` may be about no field; a
     * large one has lost their names.
     */
    function meaning(event, message) {
        const isChange = event === "updated" && (message?.truncated || message?.changed?.length !== 0);
        return event === "deleted" ? "deleted" : isChange ? "changed" : null;
    }

    /**
     * Whether a warning takes the place of another: an object that is gone does not change, and what has been
     * said with a name is not said again without.
     */
    function supersedes(/** @type {string} */ text, /** @type {string | undefined} */ shown) {
        const order = [undefined, "changed", "changed_by", "gone", "deleted", "deleted_by"];
        return order.indexOf(text) > order.indexOf(shown) || (text === shown && text === "changed_by");
    }

    /** Whether a form is posted to the address of the page, and not, say, to that of a search. */
    function isOwn(form, page) {
        // A field may be named "action", so that the form's property of this name is that field.
        const [target, own] = [new URL(form.getAttribute("action") || page, page), new URL(page)];
        const isPost = form.getAttribute("method")?.toLowerCase() === "post";
        return isPost && target.origin === own.origin && target.pathname === own.pathname;
    }

    function defineElement() {
        if (customElements.get("pusherable-changes")) {
            return; // the script is on the page twice
        }
        class PusherableChanges extends HTMLElement {
            #timer = null;
            #sent = -Infinity; // when the page last sent a form
            /** @type {AbortController} */
            #connected;

            connectedCallback() {
                const { channel, eventsChannel, version } = this.dataset;
                this.role = "alert";
                this.dir = "auto"; // that of the sentence, whatever the page's is
                this.#connected = new AbortController();
                const { signal } = this.#connected;
                for (const name of [channel, eventsChannel]) {
                    const leave = window.pusherable.join(name, (event, message) => this.#hear(event, message));
                    signal.addEventListener("abort", leave);
                }
                const onFormData = ({ target, formData }) => {
                    this.#sent = performance.now();
                    if (isOwn(target, location.href)) {
                        // So that a form that is shown again with its errors still knows what it was made of.
                        formData.set(`pusherable-version-${channel}`, version);
                    }
                };
                document.addEventListener("formdata", onFormData, { signal });
            }

            disconnectedCallback() {
                clearTimeout(this.#timer);
                this.#connected.abort();
            }

            #hear(event, message) {
                const what = meaning(event, message);
                if (["pusher:subscription_succeeded", "pusher:subscription_error"].includes(event)) {
                    this.#askIn(TOGETHER); // also where it was refused: the object may be gone
                } else if (what) {
                    this.#learn(message?.user ? `${what}_by` : what, message?.user);
                }
            }

            #learn(/** @type {string} */ text, name = "") {
                if (performance.now() - this.#sent < LEAVING) {
                    this.#askIn(LEAVING); // probably the page's own doing, and by then it has been left
                } else if (supersedes(text, this.dataset.told)) {
                    this.dataset.told = text;
                    this.#write(JSON.parse(this.dataset.texts)[text], name);
                }
            }

            #askIn(/** @type {number} */ delay) {
                clearTimeout(this.#timer);
                this.#timer = setTimeout(() => this.#ask(), delay);
            }

            async #ask() {
                const { channel, changedUrl, version } = this.dataset;
                const { signal } = this.#connected;
                try {
                    const response = await fetch(`${changedUrl}?${new URLSearchParams({ channel, version })}`, { signal });
                    if (response.status === 403) {
                        this.#learn("gone");
                    } else if ((await response.json()).changed) {
                        this.#learn("changed");
                    }
                } catch {
                    if (!signal.aborted) {
                        this.#askIn(RETRY);
                    }
                }
            }

            #write(/** @type {string} */ text, /** @type {string} */ name) {
                const [before, after] = text.split("{name}");
                const bdi = document.createElement("bdi");
                bdi.className = "pusherable-viewers-name";
                bdi.textContent = name;
                this.replaceChildren(before, ...(after === undefined ? [] : [bdi, after]));
            }
        }
        customElements.define("pusherable-changes", PusherableChanges);
    }

    if (typeof document === "undefined") {
        module.exports = { isOwn, meaning, supersedes }; // to the tests, in node
        return;
    }
    customElements.whenDefined("pusherable-subscribe").then(defineElement); // then there is a connection
})();
