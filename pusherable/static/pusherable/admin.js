/**
 * A part of a page that comes after it, when it is about to be seen; until then there is a link to it.
 *
 *     <pusherable-fragment data-url="charts/" data-loading="..." data-failed="..." data-again="...">
 *       <a href="charts/">Charts</a>
 *     </pusherable-fragment>
 */
(() => {
    "use strict";

    /**
     * The elements of a page. Unlike HTML that is taken from a text, this is nothing that Trusted Types forbid.
     * @returns {Promise<NodeList>}
     */
    function elementsOf(/** @type {string} */ url, /** @type {AbortSignal} */ signal) {
        return new Promise((resolve, reject) => {
            const request = new XMLHttpRequest();
            request.open("GET", url);
            request.responseType = "document";
            request.setRequestHeader("X-Requested-With", "XMLHttpRequest");
            request.onerror = reject;
            request.onload = () => {
                // Whose session has ended has been sent elsewhere.
                const isIt = request.status === 200 && request.responseURL === new URL(url, document.baseURI).href;
                (isIt ? resolve : reject)(request.response?.body.childNodes);
            };
            signal.addEventListener("abort", () => request.abort());
            request.send();
        });
    }

    class PusherableFragment extends HTMLElement {
        /** @type {AbortController} */
        #connected;

        connectedCallback() {
            this.#connected = new AbortController();
            const { signal } = this.#connected;
            const observer = new IntersectionObserver((entries) => {
                if (entries.some(({ isIntersecting }) => isIntersecting)) {
                    observer.disconnect();
                    this.#load(signal);
                }
            });
            observer.observe(this);
            signal.addEventListener("abort", () => observer.disconnect());
        }

        disconnectedCallback() {
            this.#connected.abort();
        }

        async #load(/** @type {AbortSignal} */ signal) {
            const { url, loading, failed, again } = this.dataset;
            const said = this.querySelector("[role=status]") ?? this.appendChild(document.createElement("p"));
            said.role = "status";
            said.textContent = loading;
            try {
                this.replaceChildren(...(await elementsOf(url, signal)));
            } catch {
                const button = document.createElement("button");
                button.type = "button";
                button.textContent = again;
                button.addEventListener("click", () => {
                    this.tabIndex = -1;
                    this.focus(); // or else the focus would be lost with the button
                    this.#load(signal);
                });
                said.replaceChildren(failed, " ", button);
            }
            this.dataset.done = ""; // its place need not be kept any longer
        }
    }

    if (!customElements.get("pusherable-fragment")) {
        customElements.define("pusherable-fragment", PusherableFragment); // the script may be on the page twice
    }
})();
