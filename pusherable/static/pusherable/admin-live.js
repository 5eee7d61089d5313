/**
 * "3 new events" above the event browser's list, and a click puts them there. As in activity.js, a message only says
 * that something has happened, and the site is asked what it was.
 *
 *     <pusherable-news data-channel="..." data-url="news/" data-first="993" data-shown="50">
 *         a live region, a button, and the list </pusherable-news>
 */
customElements.whenDefined("pusherable-activity").then((PusherableActivity) => {
    "use strict";

    class PusherableNews extends Object.getPrototypeOf(PusherableActivity) {
        constructor() {
            super();
            this.addEventListener("click", ({ target }) => target === this.#button && this.#reveal());
        }

        get address() {
            const { url, first, shown } = this.dataset;
            return `${url}?${new URLSearchParams({ first, shown })}`;
        }

        get #button() {
            return this.querySelector("button.pusherable-news");
        }

        mayBeNews(/** @type {number} */ id) {
            return id >= Number(this.dataset.first) && !this.#events().includes(id);
        }

        show(/** @type {Document} */ page) {
            const text = page.body.textContent;
            if (this.#button.hidden) {
                this.querySelector("[role=status]").textContent = text; // but not each time that there are more
            }
            this.#button.textContent = text;
            this.#button.hidden = !text;
        }

        async #reveal() {
            let page = null;
            try {
                page = await this.load(location.pathname + location.search);
            } catch {
                return; // the button is still there
            }
            const sent = page?.querySelector(this.localName);
            if (!sent) {
                location.reload(); // the user is signed out, say
                return;
            }
            const chosen = this.#boxes().filter(({ checked }) => checked).map(({ value }) => value);
            const known = this.#events();
            const pages = document.querySelector("nav.pusherable-pages");
            pages?.replaceWith(page.querySelector("nav.pusherable-pages"));
            Object.assign(this.dataset, sent.dataset);
            this.replaceChildren(...sent.childNodes);
            this.#choose(chosen);
            this.#mark(known);
        }

        /** The ids of the events that are shown. */
        #events() {
            return [...this.querySelectorAll("[data-event-id]")].map(({ dataset }) => Number(dataset.eventId));
        }

        #boxes() {
            return [...this.querySelectorAll("tr input.action-select")];
        }

        /** What was chosen stays so. */
        #choose(/** @type {string[]} */ values) {
            const boxes = this.#boxes();
            if (boxes.length) {
                window.Actions?.(boxes); // as the admin does when the page is there
                boxes.filter(({ value }) => values.includes(value)).forEach((box) => box.click());
            }
        }

        /** The focus goes on where the news begin; the button that had it is gone. */
        #mark(/** @type {number[]} */ known) {
            this.querySelectorAll("[data-event-id]").forEach((time) => {
                time.closest("tr")?.classList.toggle("pusherable-new", !known.includes(Number(time.dataset.eventId)));
            });
            this.querySelector(".pusherable-new a")?.focus();
        }
    }
    if (!customElements.get("pusherable-news")) {
        customElements.define("pusherable-news", PusherableNews);
    }
});
