/**
 * The lists that the template tag `pusherable_activity` renders: how long ago it was, in place of the time, and with
 * live=True what happens while the page is open.
 *
 *     <pusherable-activity data-channel="private-poll_17" data-url="/pusherable/activity/items/?list=..."
 *         data-limit="10" data-texts="{...}"> a button, a live region, and the items </pusherable-activity>
 *
 * A message only says that something has happened: none of it gets into the page. What it was, the site is asked for,
 * and answers with the items as they are now, so that what was missed or came out of order is there too.
 */
(() => {
    "use strict";

    const SUBSCRIBED = "pusher:subscription_succeeded";
    const TOGETHER = 200; // ms in which messages are followed by one question; for some pages up to twice that
    const PAUSE = 1000; // ms between two questions
    const RETRY = 10_000; // ms until the site is asked again where it did not answer
    const TIMEOUT = 30_000; // ms
    const QUIET = 1000; // ms in which what is to be announced is gathered
    const SILENCE = 10_000; // ms after an announcement, in which there is no other
    const MINUTE = 60_000; // ms
    const UNITS = [["year", 31_557_600], ["month", 2_629_800], ["day", 86_400], ["hour", 3600], ["minute", 60]];

    /** How long ago that was, in words. */
    function ago(/** @type {number} */ ms, /** @type {string} */ language) {
        const seconds = ms / 1000;
        const unit = UNITS.find(([, length]) => seconds >= length);
        if (!unit) {
            return new Intl.RelativeTimeFormat(language, { numeric: "auto" }).format(0, "second"); // "now"
        }
        return new Intl.RelativeTimeFormat(language).format(-Math.floor(seconds / unit[1]), unit[0]);
    }

    /** The moment that a `datetime` names; Django's has no colon in the offset, and some browsers want one. */
    function moment(/** @type {string | undefined} */ text) {
        return Date.parse(text?.replace(/([+-]\d\d)(\d\d)$/, "$1:$2"));
    }

    /** Those events that came after the oldest one that was shown; if the list was not full, all that were not. */
    function newcomers(/** @type {number[]} */ now, /** @type {number[]} */ shown, /** @type {boolean} */ isFull) {
        const oldest = isFull ? Math.min(...shown) : 0;
        return now.filter((id) => id > oldest && !shown.includes(id));
    }

    /** Writes how long ago it was, wherever there is such a time, and keeps the time itself as its title. */
    function keepTimes(/** @type {string} */ language) {
        const times = document.getElementsByClassName("pusherable-activity-time"); // also those that come later
        const told = new WeakSet(); // not by its title: a copy, such as htmx keeps of a page, has that already
        let timer = null;

        function tell(time) {
            told.add(time);
            const age = Date.now() - moment(time.dateTime);
            if (!Number.isNaN(age)) {
                time.title ||= time.textContent;
                time.textContent = ago(age, language);
            }
        }

        function tellAll() {
            clearTimeout(timer);
            timer = times.length && !document.hidden ? setTimeout(tellAll, MINUTE) : null;
            [...times].forEach(tell);
        }

        new MutationObserver(() => {
            const untold = [...times].filter((time) => !told.has(time));
            untold.forEach(tell);
            if (untold.length && !timer) {
                tellAll();
            }
        }).observe(document, { childList: true, subtree: true });
        document.addEventListener("visibilitychange", tellAll);
        tellAll();
    }

    /**
     * The page at an address of this site; null where the site refuses it. Rejects where there is no answer. By
     * XMLHttpRequest, because it makes a document of the answer without a policy for Trusted Types.
     * @returns {Promise<Document | null>}
     */
    function load(/** @type {string} */ url, /** @type {AbortSignal} */ signal) {
        return new Promise((resolve, reject) => {
            const address = new URL(url, location.href).href;
            const request = new XMLHttpRequest();
            request.open("GET", address);
            request.responseType = "document";
            request.timeout = TIMEOUT;
            const stop = () => request.abort();
            request.onloadend = () => {
                signal.removeEventListener("abort", stop);
                const { status, response, responseURL } = request;
                if (status === 0 || status === 429 || status >= 500) {
                    reject(new Error(`The site answered ${status}.`));
                } else {
                    // Where it leads elsewhere, that is to a login.
                    resolve(status === 200 && responseURL === address ? response : null);
                }
            };
            signal.addEventListener("abort", stop);
            request.send();
        });
    }

    /**
     * Asks after every subscription to the channel and after each message that is news: once for a burst, with pauses,
     * and again where there was no answer (`ask` tells whether there was one).
     */
    function follow(channel, isNews, ask, /** @type {AbortSignal} */ signal) {
        let wanted = false;
        let timer = null; // until the next question, also while one is being answered

        async function next() {
            if (!wanted) {
                timer = null;
                return;
            }
            wanted = false;
            const answered = await ask();
            wanted ||= !answered;
            timer = signal.aborted ? null : setTimeout(next, answered ? PAUSE : RETRY);
        }

        const leave = window.pusherable.join(channel, (event, message) => {
            if (event === SUBSCRIBED || isNews(message?.event_id)) {
                wanted = true;
                timer ??= setTimeout(next, TOGETHER * (1 + Math.random()));
            }
        });
        signal.addEventListener("abort", () => {
            leave();
            clearTimeout(timer);
        });
    }

    function defineElement() {
        if (customElements.get("pusherable-activity")) {
            return; // the script is on the page twice
        }

        /** What shows an answer of the site, and asks for it whenever there may be another one. */
        class PusherableLive extends HTMLElement {
            #connected = new AbortController();
            #isNew = window.pusherable.duplicateFilter();

            connectedCallback() {
                this.#connected = new AbortController();
                const { signal } = this.#connected;
                const isNews = (id) => Number.isSafeInteger(id) && this.mayBeNews(id) && this.#isNew(id);
                follow(this.dataset.channel, isNews, () => this.#ask(), signal);
            }

            disconnectedCallback() {
                this.#connected.abort();
            }

            load(/** @type {string} */ url) {
                return load(url, this.#connected.signal);
            }

            async #ask() {
                let page;
                try {
                    page = await this.load(this.address);
                } catch {
                    return false;
                }
                if (page) {
                    this.show(page);
                } else {
                    this.#connected.abort(); // the user may no longer see it
                }
                return true;
            }
        }

        class PusherableActivity extends PusherableLive {
            #waiting = null; // the page that the button shows
            #held = 0; // events behind the button
            #unsaid = 0; // events that have not been announced
            #timer = null;

            constructor() {
                super();
                this.addEventListener("click", ({ target }) => target === this.#button && this.#reveal());
            }

            connectedCallback() {
                this.#button.hidden = !this.#waiting; // a copy of an element has its button, but not what it shows
                super.connectedCallback();
            }

            disconnectedCallback() {
                super.disconnectedCallback();
                clearTimeout(this.#timer);
                this.#timer = null;
            }

            get address() {
                return this.dataset.url;
            }

            get #button() {
                return this.querySelector(".pusherable-activity-news");
            }

            get #items() {
                return this.querySelector(".pusherable-activity-items");
            }

            get #isFull() {
                return itemsOf(this.#items).length >= Number(this.dataset.limit);
            }

            mayBeNews(/** @type {number} */ id) {
                return newcomers([id], eventsOf(this.#items), this.#isFull).length > 0;
            }

            show(/** @type {Document} */ page) {
                const count = newcomers(eventsOf(page), eventsOf(this.#items), this.#isFull).length;
                this.#announce(count - this.#held);
                if (count && isBeingRead(this.#items)) {
                    this.#waiting = page;
                    this.#held = count;
                    this.#button.textContent = this.#text(count);
                    this.#button.hidden = false;
                } else {
                    this.#put(page);
                }
            }

            #put(/** @type {Document} */ page) {
                this.#waiting = null;
                this.#held = 0;
                this.#button.hidden = true;
                reconcile(this.#items, page.body);
            }

            #reveal() {
                this.#put(this.#waiting);
                const [first] = itemsOf(this.#items);
                first.tabIndex = -1;
                first.focus(); // where the news begin; what had it is hidden
            }

            /** Says how many there are: not for each, nor each time where there is always something. */
            #announce(/** @type {number} */ count) {
                this.#unsaid += Math.max(count, 0);
                if (this.#unsaid) {
                    this.#timer ??= setTimeout(() => this.#say(), QUIET);
                }
            }

            #say() {
                const count = this.#unsaid;
                this.#unsaid = 0;
                this.querySelector(".pusherable-activity-status").textContent = count ? this.#text(count) : "";
                this.#timer = count ? setTimeout(() => this.#say(), SILENCE) : null;
            }

            #text(/** @type {number} */ count) {
                const { language, ...texts } = JSON.parse(this.dataset.texts);
                return texts.new.replace("{count}", () => count.toLocaleString(language));
            }
        }
        customElements.define("pusherable-activity", PusherableActivity);
    }

    function itemsOf(/** @type {ParentNode} */ root) {
        return [...root.querySelectorAll("[data-event-id]")];
    }

    /** The ids of all events that are shown: an item may be about several. */
    function eventsOf(/** @type {ParentNode} */ root) {
        return itemsOf(root).flatMap(({ dataset }) => dataset.events.split(" ").map(Number));
    }

    /** Whether it would be in the way if something moved: the beginning is out of sight, or one is in the midst. */
    function isBeingRead(/** @type {Element} */ items) {
        const { top } = items.getBoundingClientRect();
        for (let box = items; box; box = box.parentElement) {
            if (box.scrollTop > 0 && (box === items || top < Math.max(0, box.getBoundingClientRect().top))) {
                return true;
            }
        }
        return items.matches(":hover") || items.querySelector(":focus-visible") !== null;
    }

    /** Makes of the items those that the site has sent. What is the same stays, with focus and selection. */
    function reconcile(/** @type {Element} */ items, /** @type {Element} */ sent) {
        const [old, now] = [itemsOf(items), itemsOf(sent)];
        if (!old.length || !now.length) {
            items.replaceChildren(...sent.childNodes);
            return;
        }
        const list = old[0].parentNode;
        const known = new Map(old.map((item) => [item.dataset.events, item]));
        const wanted = now.map((item) => known.get(item.dataset.events) ?? item);
        old.filter((item) => !wanted.includes(item)).forEach((item) => item.remove());
        wanted.forEach((item, place) => {
            if (list.children[place] !== item) {
                list.insertBefore(item, list.children[place] ?? null);
            }
        });
    }

    if (typeof document === "undefined") {
        module.exports = { ago, moment, newcomers }; // to the tests, in node
        return;
    }
    keepTimes(document.currentScript.dataset.language);
    customElements.whenDefined("pusherable-subscribe").then(defineElement); // then there is a connection
})();
