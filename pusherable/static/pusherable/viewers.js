/**
 * Who is here now: the element that the template tag `pusherable_viewers` renders, after pusherable.js.
 *
 *     <pusherable-viewers data-channel="presence-poll_17" data-me="5" data-texts="{...}"></pusherable-viewers>
 *
 * Pusher's members are connections of a kind: "5" is the user with the key 5, "5!edit" the same one on the update
 * page. People are made of them here, one for each key. What a person reads comes from the server in data-texts,
 * sentences with {name}, {names} or {count}; what comes from people is written as text only, each name in a <bdi>.
 */
(() => {
    "use strict";

    /**
     * @typedef {{key: string, name: string, avatar: string | null, editing: boolean, me: boolean}} Person
     * @typedef {Record<string, string>} Texts
     */

    const EDITING = "!edit";
    const SUBSCRIBED = "pusher:subscription_succeeded";
    const FACES = 4;
    const COLOURS = 8;
    const LINGER = 600; // ms that a member who left stays: who follows a link or reloads does not blink
    const QUIET = 1000; // ms in which what is to be announced is gathered

    /** The user's key, and whether the member is one who edits. */
    function parseMember(/** @type {string} */ id) {
        const editing = id.endsWith(EDITING);
        return { key: editing ? id.slice(0, -EDITING.length) : id, editing };
    }

    /**
     * The people whom the members are: this user first, then those of `before` in their order, then the others.
     * @param {Map<string, any>} members What each told about itself, by id.
     * @param {Person[]} before
     * @returns {Person[]}
     */
    function people(members, before, /** @type {string} */ me) {
        const found = new Map(before.map(({ key }) => [key, null]));
        for (const [id, info] of members) {
            const { key, editing } = parseMember(id);
            found.set(key, {
                key,
                name: String(info?.name ?? "").trim() || key,
                avatar: avatar(info?.avatar),
                editing: editing || Boolean(found.get(key)?.editing),
                me: key === me,
            });
        }
        const present = [...found.values()].filter(Boolean);
        return [...present.filter((person) => person.me), ...present.filter((person) => !person.me)];
    }

    /** An address of this site or of the web; null for anything else. */
    function avatar(/** @type {unknown} */ url) {
        return typeof url === "string" && /^(https?:\/\/|\/)/i.test(url) ? url : null;
    }

    /** The first letters of the first and the last word. */
    function initials(/** @type {string} */ name) {
        const words = name.match(/[\p{L}\p{N}][\p{L}\p{N}\p{M}]*/gu) ?? [];
        const [first, ...others] = words.map((word) => word.match(/^.\p{M}*/u)[0]);
        return [first ?? "?", others.at(-1)].join("").toLocaleUpperCase();
    }

    /** A number from 0 up for the colour of a person, the same on every page. */
    function colour(/** @type {string} */ key) {
        return [...key].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)) % 9973, 7) % COLOURS;
    }

    /** What others did between two moments, a word and a person each; of those who came to edit, only that. */
    function news(/** @type {Person[]} */ before, /** @type {Person[]} */ after) {
        const then = new Map(before.map((person) => [person.key, person]));
        const now = new Map(after.map((person) => [person.key, person]));
        const told = after.flatMap((person) => {
            const was = then.get(person.key);
            if (person.editing !== Boolean(was?.editing)) {
                return [[person.editing ? "editing" : "stopped", person]];
            }
            return was ? [] : [["came", person]];
        });
        const left = before.filter(({ key }) => !now.has(key)).map((person) => ["left", person]);
        return [...told, ...left].filter(([, person]) => !person.me);
    }

    /** A sentence of plain text; the name, whatever its direction, turns nothing around it. */
    function plain(/** @type {string} */ text, /** @type {Person} */ { name }) {
        const straight = name.replace(/[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, "");
        return text.replace("{name}", () => `\u2068${straight}\u2069`);
    }

    /** How the page's language writes a list. */
    function listed(/** @type {Texts} */ { language }, type) {
        return new Intl.ListFormat(language, { type });
    }

    /** What to tell of the news: each by itself, or, if there are many, how many people there are. */
    function announcement(items, /** @type {number} */ count, /** @type {Texts} */ texts) {
        return items.length > 3
            ? texts.count.replace("{count}", () => count)
            : listed(texts, "unit").format(items.map(([what, person]) => plain(texts[what], person)));
    }

    /** The sentence in parts, of which some are names: those of all whom it is about. */
    function parts(/** @type {string} */ what, /** @type {string[]} */ names, /** @type {Texts} */ texts) {
        const [before, after = ""] = texts[what].split(/\{names?\}/);
        const list = listed(texts, "conjunction").formatToParts(names);
        return [
            { name: false, text: before },
            ...list.map(({ type, value }) => ({ name: type === "element", text: value })),
            { name: false, text: after },
        ].filter((part) => part.text);
    }

    /** @type {Map<string, Room>} */
    const rooms = new Map();

    /** The people on the pages of one object, for all elements of this page that show them. */
    class Room {
        /** @type {Person[]} */
        people = [];
        #told = null; // the people of whom is known what they do; null until the first are there
        #members = new Map();
        #leaving = new Map();
        /** @type {Set<PusherableViewers>} */
        #elements = new Set();
        #timer = null;
        #channel;
        #me;
        #leave;

        constructor(channel, me) {
            this.#channel = channel;
            this.#me = me;
            this.#leave = window.pusherable.join(channel, (event, data) => this.#hear(event, data));
        }

        enter(element) {
            this.#elements.add(element);
            window.pusherable.edit(this.#channel, this.#isEdited);
        }

        exit(element) {
            this.#elements.delete(element);
            window.pusherable.edit(this.#channel, this.#isEdited);
            // Not at once: an element that is moved or swapped leaves and enters in the same breath.
            queueMicrotask(() => {
                if (this.#elements.size === 0 && rooms.get(this.#channel) === this) {
                    rooms.delete(this.#channel);
                    this.#leave();
                    clearTimeout(this.#timer);
                    this.#leaving.forEach((timer) => clearTimeout(timer));
                }
            });
        }

        get #isEdited() {
            return [...this.#elements].some((element) => "editing" in element.dataset);
        }

        #hear(event, data) {
            if (event === SUBSCRIBED) {
                const there = new Map();
                data.each(({ id, info }) => there.set(id, info));
                [...this.#members.keys()].filter((id) => !there.has(id)).forEach((id) => this.#remove(id));
                there.forEach((info, id) => this.#add(id, info));
            } else if (event === "pusher:member_added") {
                this.#add(data.id, data.info);
            } else if (event === "pusher:member_removed") {
                this.#remove(data.id);
            } else {
                return;
            }
            this.#show();
        }

        #add(id, info) {
            clearTimeout(this.#leaving.get(id));
            this.#members.set(id, info);
        }

        #remove(id) {
            const gone = () => {
                this.#members.delete(id);
                this.#show();
            };
            clearTimeout(this.#leaving.get(id));
            this.#leaving.set(id, setTimeout(gone, LINGER));
        }

        #show() {
            this.people = people(this.#members, this.people, this.#me);
            this.#elements.forEach((element) => element.show(this.people));
            this.#told ??= this.people;
            this.#timer ??= setTimeout(() => this.#announce(), QUIET);
        }

        #announce() {
            this.#timer = null;
            // The warning of an update page says by itself who edits.
            const items = news(this.#told, this.people).filter(([what]) => !(what === "editing" && this.#isEdited));
            this.#told = this.people;
            if (items.length) {
                [...this.#elements][0]?.announce(items, this.people.length);
            }
        }
    }

    /** An element with a class of ours, and with text or other nodes in it. */
    function create(tag, part, ...content) {
        const element = document.createElement(tag);
        element.className = `pusherable-viewers-${part}`;
        element.append(...content);
        return element;
    }

    /** By which the text about a person is found. */
    function labelOf(/** @type {Person} */ { editing, me }) {
        return editing ? "editing" : me ? "you" : "name";
    }

    function face(/** @type {Person} */ { key, name, avatar: url, editing }) {
        const element = create("span", "face", initials(name));
        element.classList.add(`pusherable-viewers-colour-${colour(key)}`);
        if (url) {
            const image = create("img", "image");
            image.alt = "";
            image.referrerPolicy = "no-referrer";
            image.onerror = () => image.remove(); // below it are the initials
            image.src = url;
            element.append(image);
        }
        element.append(...(editing ? [create("span", "pencil")] : []));
        return element;
    }

    function defineElement() {
        if (customElements.get("pusherable-viewers")) {
            return; // the script is on the page twice
        }
        class PusherableViewers extends HTMLElement {
            static observedAttributes = ["data-channel", "data-editing", "data-version"];
            #room = null;
            #shown = "";
            /** @type {Texts} */
            #texts;
            #list;
            #note;
            #status;

            connectedCallback() {
                const { channel, me, texts } = this.dataset;
                this.#texts = JSON.parse(texts);
                this.#build();
                this.#room = rooms.get(channel) ?? new Room(channel, me);
                rooms.set(channel, this.#room);
                this.#room.enter(this);
                this.show(this.#room.people);
            }

            disconnectedCallback() {
                this.#room.exit(this);
                this.#room = null;
            }

            attributeChangedCallback() {
                if (this.#room) {
                    this.disconnectedCallback();
                    this.connectedCallback();
                }
            }

            get isEditing() {
                return "editing" in this.dataset;
            }

            show(/** @type {Person[]} */ everybody) {
                if (this.#list.parentNode !== this) {
                    this.#build(); // the page was morphed into what the server sends, which is empty
                }
                const known = this.#shown;
                this.#shown = JSON.stringify(everybody);
                if (this.#shown === known) {
                    return;
                }
                const more = everybody.slice(FACES);
                this.#list.replaceChildren(
                    ...everybody.slice(0, FACES).map((person) => this.#item(face(person), [person])),
                    ...(more.length ? [this.#item(create("span", "face", `+${more.length}`), more)] : []),
                );
                const editors = everybody.filter((person) => person.editing && !person.me);
                const text = this.isEditing ? "warning" : "editing";
                this.#fill(this.#note, editors.length > 1 ? `${text}_many` : text, editors);
            }

            announce(items, /** @type {number} */ count) {
                this.#status.textContent = announcement(items, count, this.#texts);
            }

            #build() {
                this.#shown = "";
                this.#list = create("ul", "list");
                this.#list.role = "list"; // some browsers forget that of a list without bullets
                this.#list.ariaLabel = this.#texts.label;
                this.#note = create("p", this.isEditing ? "warning" : "note");
                this.#note.role = this.isEditing ? "status" : null;
                this.#status = create("p", "hidden");
                this.#status.role = "status";
                this.#note.dir = this.#status.dir = "auto"; // that of the sentence, whatever the page's is
                this.replaceChildren(this.#list, this.#note, this.#status);
                if (this.dataset.version) {
                    const changes = create("pusherable-changes", "warning");
                    Object.assign(changes.dataset, this.dataset);
                    this.append(changes);
                }
            }

            /** What stands for one person, or for several; their names are in its title and beside it. */
            #item(picture, /** @type {Person[]} */ persons) {
                picture.ariaHidden = "true";
                picture.dir = "ltr"; // "+4" also where people write from right to left
                const labels = persons.map((person) => {
                    const label = create("span", "hidden");
                    this.#fill(label, labelOf(person), [person]);
                    return label;
                });
                const item = create("li", "person", picture, ...labels);
                item.title = persons.map((person) => plain(this.#texts[labelOf(person)], person)).join("\n");
                item.toggleAttribute("data-editing", persons.some(({ editing }) => editing));
                return item;
            }

            /** Writes a sentence about these people; about nobody, nothing. */
            #fill(element, what, /** @type {Person[]} */ persons) {
                const nodes = persons.length ? parts(what, persons.map(({ name }) => name), this.#texts) : [];
                const content = nodes.map(({ name, text }) => (name ? create("bdi", "name", text) : text));
                if (element.textContent !== nodes.map(({ text }) => text).join("")) {
                    element.replaceChildren(...content); // only then, since a live region is read again
                }
            }
        }
        customElements.define("pusherable-viewers", PusherableViewers);
    }

    if (typeof document === "undefined") {
        module.exports = { announcement, avatar, colour, initials, news, parseMember, parts, people }; // to the tests
        return;
    }
    customElements.whenDefined("pusherable-subscribe").then(defineElement); // then there is a connection
})();
