// Puts the parts together: what the address says is searched, and every change of the search goes through the address.

import { focusChip, showChips } from "./chips.js";
import { byId } from "./dom.js";
import * as drop from "./drop.js";
import { nameOf } from "./grid.js";
import { imageFiles, isKept, remember } from "./images.js";
import { showNotice } from "./notices.js";
import { NOT_AN_IMAGE, REMOVE_IMAGE } from "./problems.js";
import { describe, empty, format, isEmpty, parse, withExample, withoutExample } from "./query.js";
import * as results from "./results.js";
import * as uploads from "./uploads.js";

let query = empty();
const thumbnails = new Map(); // name -> address, of every result seen

start();

function start() {
  byId("search").addEventListener("submit", submitted);
  byId("pick").addEventListener("click", () => byId("pick-file").click());
  byId("pick-file").addEventListener("change", picked);
  byId("home").addEventListener("click", goHome);
  byId("varied").addEventListener("change", vary);
  window.addEventListener("popstate", follow);
  results.start({
    example: addExample,
    found: noteResults,
    retry: follow,
    removeImage: () => removeChip("image"),
    addImages: uploads.openPanel,
    textUnsupported: disableText,
  });
  uploads.start({ onSearchable: refreshStart, onFind: (name) => go(withExample(empty(), "like", name)) });
  drop.start({ onSearch: searchByImage, onUpload: uploads.addFiles, onNothing: sayNoImage });
  follow();
}

/** Shows what the address asks for. */
function follow() {
  query = parse(location.search, history.state);
  if (!byId("text").disabled) byId("text").value = query.text;
  document.title = [describe(query), "Image search"].filter(Boolean).join(" · ");
  byId("varied").checked = query.varied;
  document.body.dataset.view = isEmpty(query) ? "start" : "results";
  showChips(query, thumbnails, removeChip);
  if (query.image && !isKept(query.image.key)) sayImageIsGone();
  else results.run(query);
}

/** Makes `next` the page's search, as a new entry of the history. */
function go(next) {
  history.pushState({ image: next.image?.key ?? null }, "", format(next));
  window.scrollTo(0, 0);
  follow();
}

/** The search with the text in the box, submitted or not. */
const typed = () => ({ ...query, text: byId("text").value.trim() });

function submitted(event) {
  event.preventDefault();
  go(typed());
}

function vary(event) {
  go({ ...typed(), varied: event.target.checked });
}

function goHome(event) {
  event.preventDefault();
  go(empty());
}

function picked(event) {
  searchByImage(imageFiles(event.target.files));
  event.target.value = ""; // so that the same file can be picked again
}

function searchByImage([file]) {
  if (file) go({ ...typed(), image: remember(file) });
  else sayNoImage();
}

function addExample(kind, result) {
  go(withExample(typed(), kind, nameOf(result)));
  byId("status").focus({ preventScroll: true }); // the button that was used goes with the old results
}

function removeChip(kind, name) {
  go(kind === "image" ? { ...typed(), image: null } : withoutExample(typed(), name));
  focusChip();
}

function noteResults(found) {
  for (const result of found) if (result.url) thumbnails.set(nameOf(result), result.url);
  uploads.proposeBucket(found[0]?.bucket);
}

function refreshStart() {
  if (isEmpty(query)) results.run(query);
}

function disableText() {
  const box = byId("text");
  box.disabled = true;
  box.value = "";
  box.placeholder = "Search by an image";
  byId("text-hint").textContent = "This collection's model doesn't understand words. Pick, paste or drop an image.";
}

function sayNoImage() {
  showNotice(NOT_AN_IMAGE);
}

function sayImageIsGone() {
  results.clear(query);
  const title = "The image of this search isn't kept";
  const remedy = "The page keeps it only until it is closed. Pick, paste or drop it again.";
  showNotice({ title, remedy, act: REMOVE_IMAGE }, "", () => removeChip("image"));
}
