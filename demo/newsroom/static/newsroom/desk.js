// Shows what another person does to an article of this page. The sentences stand in the template, as data of
// the notice area; this file puts the names in. Everything is set as text, never as markup.
"use strict";

const clock = { hour: "2-digit", minute: "2-digit" };

document.addEventListener("pusherable:event", ({ target, detail: { event, data } }) => {
  const area = document.querySelector("[data-notices]");
  if (data.user === area.dataset.me) return;

  const fill = (sentence) =>
    sentence
      .replace("{user}", () => data.user)
      .replace("{object}", () => data.object.headline ?? "an article")
      .replace("{changed}", () => new Intl.ListFormat("en").format(data.changed ?? []) || "nothing");

  const presence = target.closest("[data-story]")?.querySelector("[data-presence]");
  if (presence) {
    presence.textContent = data.user;
    presence.dataset.presence = event;
  }
  if (!area.dataset[event]) return;

  // The newest notice of a person replaces the one before, but what they have done (past tense: updated,
  // deleted) must not vanish because they go on to read the result.
  const done = event.endsWith("d");
  for (const shown of [...area.children]) {
    if (shown.dataset.user === data.user && (done || !shown.dataset.event.endsWith("d"))) shown.remove();
  }

  const notice = document.querySelector("[data-notice]").content.firstElementChild.cloneNode(true);
  notice.dataset.user = data.user;
  notice.dataset.event = event;
  notice.querySelector("[data-text]").textContent = fill(area.dataset[event]);
  const at = notice.querySelector("[data-time]");
  at.dateTime = data.at;
  at.textContent = new Date(data.at).toLocaleTimeString("en-GB", clock);
  const link = notice.querySelector("[data-link]");
  if (area.dataset[`${event}Link`]) {
    link.hidden = false;
    link.textContent = area.dataset[`${event}Link`];
    link.href = area.dataset[`${event}Href`] ?? location.href;
    link.target = area.dataset[`${event}Target`] ?? "";
  }
  area.append(notice);
});

document.addEventListener("click", ({ target }) => {
  if (!target.matches("[data-dismiss]")) return;
  const area = target.closest("[data-notices]");
  target.closest(".notice").remove();
  area.focus(); // the button that had the focus is gone
});
