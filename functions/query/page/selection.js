// Several images at once: chosen by their boxes, dealt with from the bar below.

import { byId, onClick } from "./dom.js";
import { nameOf } from "./objects.js";
import * as objects from "./objects.js";
import { baseName } from "./query.js";

const bar = byId("selection");
const chosen = new Map(); // bucket/name -> result
let on = {};

/** `callbacks`: likeThese(results), removed(names), tell(words). */
export function start(callbacks) {
  on = callbacks;
  onClick({
    "select": () => setMode(byId("select").ariaPressed !== "true"),
    "selected-like": () => on.likeThese(taken()),
    "selected-copy": () => attempt(copyLinks),
    "selected-download": () => attempt(download),
    "selected-delete": confirm,
    "selected-none": () => setMode(false),
  });
  byId("confirm-delete").addEventListener("close", ({ target }) => target.returnValue === "delete" && attempt(remove));
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

/** Does `act` with what is chosen; what it returns is said. */
async function attempt(act) {
  say("One moment …");
  try {
    say(await act([...chosen.values()]));
  } catch (error) {
    say(`That failed: ${error.message}`);
  }
}

async function copyLinks(results) {
  const found = await objects.links(results);
  await navigator.clipboard.writeText([...found.values()].join("\n"));
  return `${found.size} copied. Whoever has a link sees its image for an hour.`;
}

async function download(results) {
  const failed = await objects.download(results);
  return failed.length ? `Not downloaded: ${failed.join(", ")}` : "Downloaded";
}

function confirm() {
  const names = [...chosen.values()].map(({ name }) => baseName(name));
  byId("confirm-title").textContent = names.length === 1 ? `Delete ${names[0]}?` : `Delete ${names.length} images?`;
  byId("confirm-delete").returnValue = "";
  byId("confirm-delete").showModal();
}

async function remove(results) {
  const gone = await objects.remove(results);
  on.removed(gone);
  for (const name of gone) chosen.delete(name);
  if (!chosen.size) setMode(false);
  const kept = results.length - gone.size;
  on.tell(kept ? `${gone.size} deleted; ${kept} not: you may not delete them.` : `${gone.size} deleted`);
  return kept ? `${kept} not deleted: you may not.` : "";
}
