// Several images at once: chosen by their boxes, dealt with from the bar below.

import { byId, on, say } from "./dom.js";
import { copies } from "./grid.js";
import * as objects from "./objects.js";
import { nameOf } from "./objects.js";
import { baseName } from "./query.js";

const chosen = new Map(); // bucket/name -> result
let callbacks = {};

/** `given`: likeThese(results), removed(names), tell(words). */
export function start(given) {
  callbacks = given;
  on("click", {
    "select": ({ target }) => setMode(target.ariaPressed !== "true"),
    "selected-like": () => callbacks.likeThese(taken()),
    "selected-copy": () => attempt(copyLinks),
    "selected-download": () => attempt(download),
    "selected-delete": confirm,
    "selected-none": () => setMode(false),
  });
  on("close", { "confirm-delete": ({ target }) => target.returnValue && attempt(remove) });
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
  for (const box of document.querySelectorAll(".tile :checked")) box.click();
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
  byId("selection").hidden = chosen.size === 0;
  say("selected-count", `${chosen.size} selected`);
  say("selected-outcome", "");
}

/** Tells the outcome of `act` with the chosen images. */
async function attempt(act) {
  say("selected-outcome", "One moment …");
  const outcome = await act([...chosen.values()]).catch((error) => `That failed: ${error.message}`);
  say("selected-outcome", outcome);
}

async function copyLinks(results) {
  const found = await objects.links(results);
  await navigator.clipboard.writeText([...found.values()].join("\n"));
  return `${found.size} copied. Each link shows its image to anybody for an hour.`;
}

async function download(results) {
  const failed = await objects.download(results);
  return failed.length ? `Not downloaded: ${failed.join(", ")}` : "Downloaded";
}

function confirm() {
  const names = [...chosen.values()].map(({ name }) => baseName(name));
  const kept = { duplicates: [...chosen.values()].flatMap(({ duplicates }) => duplicates) };
  say("confirm-title", names.length === 1 ? `Delete ${names[0]}?` : `Delete ${names.length} images?`);
  say("confirm-copies", copies(kept) ? `${copies(kept)} ${kept.duplicates.length === 1 ? "stays" : "stay"}.` : "");
  byId("confirm-delete").returnValue = "";
  byId("confirm-delete").showModal();
}

async function remove(results) {
  const gone = await objects.remove(results);
  await callbacks.removed(gone);
  for (const name of gone) chosen.delete(name);
  if (!chosen.size) setMode(false);
  const kept = results.length - gone.size;
  callbacks.tell(kept ? `${gone.size} deleted; ${kept} not: you may not delete them.` : `${gone.size} deleted`);
  return kept ? `${kept} not deleted: you may not.` : "";
}
