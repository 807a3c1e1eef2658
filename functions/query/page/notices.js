// What the page has to say: problems above the results, and a message in their place where there are none.

import { byId, element, fill, fromTemplate } from "./dom.js";

const notices = byId("notices");
const message = byId("message");

export const clearNotices = () => notices.replaceChildren();

export function hideMessage() {
  message.hidden = true;
}

/** Shows `words` ({title, remedy, act}); `onAct` runs when the offered button is used. */
export function showNotice(words, detail, onAct) {
  const notice = fromTemplate("notice-template");
  fill(notice, { strong: words.title, p: words.remedy, ".detail": detail ?? "" });
  Object.assign(notice.querySelector("[data-act]"), { hidden: !words.act, textContent: words.act ?? "", onclick: onAct });
  notice.querySelector("[data-dismiss]").addEventListener("click", () => notice.remove());
  notices.replaceChildren(notice);
}

/** Other words in the notice that is shown, if any; not announced again. */
export function sayRemedy(words) {
  const remedy = notices.querySelector("p");
  if (remedy) remedy.textContent = words;
}

/** `acts`: a button for each, by label. */
export function showMessage(title, text, acts = {}, reasons = "") {
  fill(message, { h2: title, p: text, "details p": reasons });
  message.querySelector("details").hidden = !reasons;
  const button = ([textContent, onclick]) => element("button", { type: "button", className: "button primary", textContent, onclick });
  message.querySelector(".choices").replaceChildren(...Object.entries(acts).map(button));
  message.hidden = false;
}
