// Several images at once: chosen by their boxes, dealt with from the bar below.

import { byId } from "./dom.js";
import { nameOf } from "./objects.js";
import * as objects from "./objects.js";
import { baseName } from "./query.js";

const bar = byId("selection");
const chosen = new Map(); // bucket/name -> result
let on = {};

/** `callbacks`: likeThese(results), removed(names), tell(words). */
export function start(callbacks) {
  on = callbacks;
  byId("select").addEventListener("click", () => setMode(byId("select").ariaPressed !== "true"));
  byId("selected-like").addEventListener("click", () => on.likeThese(taken()));
  byId("selected-copy").addEventListener("click", copyLinks);
  byId("selected-download").addEventListener("click", download);
  byId("selected-delete").addEventListener("click", confirm);
  byId("selected-none").addEventListener("click", () => setMode(false));
  byId("confirm-delete").addEventListener("close", ({ target }) => target.returnValue === "delete" && remove());
}

export function toggle(result, box) {
  if (box.checked) chosen.set(nameOf(result), result);
  else chosen.delete(nameOf(result));
  box.closest(".tile").classList.toggle("chosen", box.checked);
  show();
}

/** Other results are shown: nothing of them is chosen. */
export function clear() {
  chosen.clear();
  for (const box of document.querySelectorAll(".tile .choice input:checked")) box.click();
  show();
}

function setMode(active) {
  byId("select").ariaPressed = String(active);
  byId("results").classList.toggle("choosing", active);
  if (!active) clear();
}

function taken() {
  const results = [...chosen.values()];
  setMode(false);
  return results;
}

function show() {
  bar.hidden = chosen.size === 0;
  byId("selected-count").textContent = `${chosen.size} selected`;
  say("");
}

const say = (words) => { byId("selected-outcome").textContent = words; };

async function attempt(act) {
  say("One moment …");
  try {
    say(await act([...chosen.values()]));
  } catch (error) {
    say(`That failed: ${error.message}`);
  }
}

function copyLinks() {
  attempt(async (results) => {
    const found = await objects.links(results);
    await navigator.clipboard.writeText([...found.values()].join("\n"));
    return `${found.size} copied. Whoever has a link sees its image for an hour.`;
  });
}

function download() {
  attempt(async (results) => {
    const failed = await objects.download(results);
    return failed.length ? `Not downloaded: ${failed.join(", ")}` : "Downloaded";
  });
}

function confirm() {
  const names = [...chosen.values()].map(({ name }) => baseName(name));
  byId("confirm-title").textContent = names.length === 1 ? `Delete ${names[0]}?` : `Delete ${names.length} images?`;
  byId("confirm-delete").returnValue = "";
  byId("confirm-delete").showModal();
}

function remove() {
  attempt(async (results) => {
    const gone = await objects.remove(results);
    on.removed(gone);
    for (const name of gone) chosen.delete(name);
    if (!chosen.size) setMode(false);
    const kept = results.length - gone.size;
    on.tell(kept ? `${gone.size} deleted; ${kept} not: you may not delete them.` : `${gone.size} deleted`);
    return kept ? `${kept} not deleted: you may not.` : "";
  });
}
