// What the page has to say: problems above the results, and a message in their place where there are none.

import { byId, fill, fromTemplate } from "./dom.js";

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
  prepare(notice.querySelector("[data-act]"), words.act, onAct);
  notice.querySelector("[data-dismiss]").addEventListener("click", () => notice.remove());
  notices.replaceChildren(notice);
}

/** Other words in the notice that is shown, if any; not announced again. */
export function sayRemedy(words) {
  const remedy = notices.querySelector("p");
  if (remedy) remedy.textContent = words;
}

export function showMessage(title, text, act, onAct) {
  fill(message, { h2: title, p: text });
  prepare(message.querySelector("button"), act, onAct);
  message.hidden = false;
}

function prepare(button, label, onAct) {
  button.hidden = !label;
  button.textContent = label ?? "";
  button.onclick = onAct;
}
