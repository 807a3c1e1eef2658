// Puts the parts together: the address is searched, and every change of the search goes through the address.

import { addThumbnails, focusChip, showChips } from "./chips.js";
import { byId, on, picker, say } from "./dom.js";
import * as drop from "./drop.js";
import * as filters from "./filters.js";
import { imageFiles, isKept, remember } from "./images.js";
import { showNotice } from "./notices.js";
import * as objects from "./objects.js";
import { links, nameOf, objectOf } from "./objects.js";
import { NOT_AN_IMAGE, REMOVE_IMAGE } from "./problems.js";
import { KINDS, describe, empty, format, isEmpty, parse, withExample, withoutExample } from "./query.js";
import * as results from "./results.js";
import * as session from "./session.js";
import * as state from "./state.js";
import * as uploads from "./uploads.js";
import * as viewer from "./viewer.js";

let query = empty();
let followed = null; // the address that is shown
const thumbnails = new Map(); // name -> address, of every result seen

start();

async function start() {
  on("submit", { search: (event) => { event.preventDefault(); go(typed()); } });
  on("click", { home: (event) => { event.preventDefault(); go(empty()); } });
  on("change", { varied: ({ target }) => go({ ...typed(), varied: target.checked }) });
  picker(byId("pick"), byId("pick-file"), (files) => searchByImage(imageFiles(files)));
  window.addEventListener("popstate", wentBack);
  document.addEventListener("keydown", pressed);
  results.start({
    example: addExample,
    part: (file) => searchByImage([file]),
    likeThese: (chosen) => go(chosen.reduce((next, result) => withExample(next, "like", nameOf(result)), typed())),
    found: noteResults,
    retry: follow,
    removeImage: () => removeChip("image"),
    addImages: uploads.openPanel,
    clearFilters: () => go({ ...typed(), filter: {} }),
    signIn: session.open,
    isSignedIn: session.isSignedIn,
    textUnsupported: disableText,
    expired: session.expire,
  });
  filters.start((filter) => go({ ...typed(), filter }));
  uploads.start({ onSearchable, onFind: (name) => find(withExample(empty(), "like", name)) });
  drop.start({ onSearch: searchByImage, onUpload: uploads.addFiles, onNothing: () => showNotice(NOT_AN_IMAGE) });
  await session.start(visitorChanged);
  if (followed === null) follow();
}

/** Shows what the address asks for. */
function follow() {
  followed = location.search;
  query = parse(location.search, history.state);
  if (!byId("text").disabled) byId("text").value = query.text;
  document.title = [describe(query), "Image search"].filter(Boolean).join(" · ");
  byId("varied").checked = query.varied;
  document.documentElement.dataset.view = isEmpty(query) ? "start" : "results";
  filters.show(query.filter);
  state.follow(query.filter);
  showChips(query, { remove: removeChip, weigh });
  addThumbnails(thumbnails);
  findThumbnails();
  if (query.image && !isKept(query.image.key)) sayImageIsGone();
  else results.run(query);
}

function onSearchable() {
  state.lookAgain();
  if (isEmpty(query)) results.run(query);
}

/** Back from the larger view leaves the results as they are. */
function wentBack() {
  const wasOpen = viewer.isOpen();
  if (wasOpen) viewer.hide();
  if (location.search === followed && wasOpen) return;
  uploads.fold();
  follow();
}

/** Makes `next` the page's search, as a new entry of the history. */
function go(next) {
  if (next.filter.bucket !== query.filter.bucket) uploads.proposeBucket(next.filter.bucket);
  const entry = { image: next.image?.key ?? null };
  if (history.state?.viewer) history.replaceState(entry, "", format(next)); // whose entry that was is closed
  else history.pushState(entry, "", format(next));
  uploads.fold();
  window.scrollTo(0, 0);
  follow();
}

/** Goes to `next` from a button that is gone then. */
function find(next) {
  go(next);
  byId("status").focus({ preventScroll: true });
}

/** Another visitor sees other images: nothing of what was shown to the last one is left. */
function visitorChanged(words) {
  thumbnails.clear();
  for (const part of [viewer, filters, objects, state]) part.forget();
  if (!session.isSignedIn()) uploads.forget(); // who signs in goes on with files that nobody might store
  follow();
  if (words) showNotice(words, "", words.onAct);
}

/** The search with the text in the box, submitted or not. */
const typed = () => ({ ...query, text: byId("text").value.trim() });

/** Keys that work anywhere but in a field or over a dialog. */
function pressed(event) {
  const act = { "/": () => byId("text").focus(), "?": () => byId("keys").showModal() }[event.key];
  if (!act || event.target.matches("input, select, textarea") || document.querySelector("dialog[open]")) return;
  event.preventDefault();
  act();
}

function searchByImage([file]) {
  if (file) go({ ...typed(), image: remember(file) });
  else showNotice(NOT_AN_IMAGE);
}

function addExample(kind, result) {
  find(withExample(typed(), kind, nameOf(result)));
}

function removeChip(kind, name) {
  go(kind === "image" ? { ...typed(), image: null } : withoutExample(typed(), name));
  focusChip();
}

function weigh(name, weight) {
  const { [name]: _, ...others } = query.weights;
  go({ ...typed(), weights: weight === 1 ? others : { ...others, [name]: weight } });
}

function noteResults(found) {
  for (const result of found) {
    const url = result.preview ?? result.url;
    if (url) thumbnails.set(nameOf(result), url);
  }
  addThumbnails(thumbnails);
  filters.noteBuckets(found);
}

/** Of examples that came with the address: nothing has shown them yet. */
async function findThumbnails() {
  const unknown = KINDS.flatMap((kind) => query[kind]).filter((name) => name.includes("/") && !thumbnails.has(name));
  if (!unknown.length) return;
  const found = await links(unknown.map(objectOf)).catch(() => []); // they stay without
  for (const [name, url] of found) thumbnails.set(name, url);
  addThumbnails(thumbnails);
}

function disableText() {
  Object.assign(byId("text"), { disabled: true, value: "", placeholder: "Search by an image" });
  say("text-hint", "This collection's model doesn't understand words. Pick, paste or drop an image.");
}

function sayImageIsGone() {
  results.clear(query);
  const [title, remedy] = query.image.key === null
    ? ["This link can't carry its image", `A link holds the name “${query.image.name}”, not the picture. Pick, paste or drop it to search with it.`]
    : ["The image of this search isn't kept", "The page keeps it only in its own tab. Pick, paste or drop it again."];
  showNotice({ title, remedy, act: REMOVE_IMAGE }, "", () => removeChip("image"));
}
