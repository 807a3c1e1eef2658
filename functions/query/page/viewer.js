// One result, large, over the page. It has an entry of its own in the history, so that Back closes it.

import * as crop from "./crop.js";
import { byId, element, on, say } from "./dom.js";
import { confidence, copies, foundBy, rounded, showFirst } from "./grid.js";
import { about, links, nameOf } from "./objects.js";
import { settings } from "./project.js";
import { isEmpty, nameOfClosest } from "./query.js";

const viewer = byId("viewer");
const image = byId("viewer-image");
const ENLARGED = 1.75; // small images are shown up to this much larger than they are
const SWIPE = 60; // px
let shown = { results: [], index: 0 };
const current = () => shown.results[shown.index];
let callbacks = {};

/** Opens `results[index]` of `query`, maybe with `more` to load; the arrows walk through the others. */
export function open(results, index, query, more) {
  shown = { results, index, query, more };
  history.pushState({ ...history.state, viewer: true }, "");
  show();
  viewer.showModal();
}

export const isOpen = () => viewer.open;

/** Called when the history has gone back; everything else that closes goes back first. */
export function hide() {
  viewer.close();
}

/** Another visitor may see other images: nothing of the last one is left. */
export function forget() {
  if (isOpen()) hide();
  shown = { results: [], index: 0 };
  for (const id of ["viewer-name", "viewer-facts", "viewer-outcome", "viewer-copies", "viewer-metadata"]) byId(id).replaceChildren();
  for (const name of ["src", "alt"]) image.removeAttribute(name);
  byId("viewer-original").removeAttribute("href");
  delete viewer.dataset.name;
}

const close = () => history.back();

/** `given`: example(kind, result), part(file), closed(index) with the image last seen. */
export function start(given) {
  callbacks = given;
  on("click", {
    "previous": () => step(-1),
    "next": () => step(1),
    "close-viewer": close,
    "viewer-like": () => choose("like"),
    "viewer-unlike": () => choose("unlike"),
    "viewer-part": () => crop.begin(image, (file) => { viewer.close(); callbacks.part(file); }),
    "viewer-link": () => copy("link", linkOf, "Link copied. It shows the image to anybody for an hour."),
    "viewer-snippet": () => copy("snippet", snippetOf, "Snippet copied"),
  });
  image.addEventListener("load", limitSize);
  viewer.addEventListener("keydown", turnPages);
  viewer.addEventListener("click", (event) => event.target === viewer && close()); // beside the picture
  viewer.addEventListener("cancel", cancel);
  viewer.addEventListener("close", () => { crop.end(); callbacks.closed(shown.index); });
  swipe(viewer.querySelector(".stage"));
}

function cancel(event) {
  event.preventDefault();
  if (crop.isActive()) crop.end();
  else close();
}

function choose(kind) {
  viewer.close();
  callbacks.example(kind, current());
}

function turnPages(event) {
  if (crop.isActive()) return;
  if (event.key === "ArrowLeft") step(-1);
  if (event.key === "ArrowRight") step(1);
}

function swipe(stage) {
  let from = null;
  stage.addEventListener("touchstart", ({ touches }) => { from = touches.length === 1 && !crop.isActive() ? touches[0] : null; }, { passive: true });
  stage.addEventListener("touchend", ({ changedTouches: [to] }) => {
    const [dx, dy] = from ? [to.clientX - from.clientX, to.clientY - from.clientY] : [0, 0];
    if (Math.abs(dx) > SWIPE && Math.abs(dx) > Math.abs(dy)) step(dx > 0 ? -1 : 1);
    else if (dy > 2 * SWIPE) close();
  });
}

function step(by) {
  if (!shown.results[shown.index + by]) return;
  shown.index += by;
  show();
}

function show() {
  const result = current();
  crop.end();
  image.alt = result.name;
  byId("viewer-broken").hidden = true;
  showFirst(image, [result.url, large(result.preview)], () => { byId("viewer-broken").hidden = false; });
  byId("viewer-part").disabled = !result.url;
  say("viewer-name", nameOf(result));
  say("viewer-facts", facts(result).join(" · "));
  say("viewer-outcome", "");
  byId("viewer-original").href = result.url ?? "";
  byId("viewer-original").hidden = !result.url;
  byId("viewer-copies").replaceChildren(...result.duplicates.map(copyLine));
  byId("viewer-metadata").replaceChildren(...Object.entries(result.metadata ?? {}).flatMap(entry));
  byId("previous").disabled = shown.index === 0;
  byId("next").disabled = shown.index === shown.results.length - 1;
  viewer.dataset.name = nameOf(result);
  if (result.url) showStored(result);
}

/** The preview, at a viewer's size where query makes it: for what the browser can't show, such as HEIC. */
const large = (preview) => (preview?.startsWith("preview?") ? `${preview}&size=large` : preview);

/** What Storage tells of the file, when it comes. */
async function showStored(result) {
  const { size, contentType, createdAt } = await about(result);
  if (viewer.dataset.name !== nameOf(result) || !createdAt) return;
  const stored = [contentType, sized(size), `added ${new Date(createdAt).toLocaleDateString()}`];
  say("viewer-facts", [...facts(result), ...stored].join(" · "));
}

const sized = (bytes) => (bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(2)} MB`);

function limitSize() {
  image.style.maxWidth = `${image.naturalWidth * ENLARGED}px`;
  image.style.maxHeight = `${image.naturalHeight * ENLARGED}px`;
}

function facts(result) {
  const facts = isEmpty(shown.query) ? [] : meaning(result);
  const place = `${shown.index + 1} of ${shown.more ? "the first " : ""}${shown.results.length}`;
  return [...facts, copies(result), place].filter(Boolean);
}

function meaning(result) {
  const closest = nameOfClosest(shown.query, result.closest);
  return [`similarity ${rounded(result.similarity)}`, ...new Set([confidence(result), foundBy(result)]), closest && `closest to ${closest}`];
}

async function copy(noun, textOf, outcome) {
  try {
    await navigator.clipboard.writeText(await textOf(current()));
    say("viewer-outcome", outcome);
  } catch (error) {
    say("viewer-outcome", `The ${noun} can't be copied: ${error.message}`);
  }
}

async function linkOf(result) {
  const url = (await links([result])).get(nameOf(result)) ?? result.url;
  if (!url) throw new Error("Storage gives you no address for it.");
  return url;
}

async function snippetOf(result) {
  const address = new URL(".", import.meta.url).href.replace(/\/$/, "");
  return `const response = await fetch(${JSON.stringify(address)}, {
  method: "POST",
  headers: {
    "Content-Type": "application/json",
    apikey: ${JSON.stringify((await settings()).publishable_key)},
    // Authorization: "Bearer <a signed-in user's access token>",
  },
  body: JSON.stringify({ like: [${JSON.stringify(nameOf(result))}], limit: 12 }),
});
const { results } = await response.json();
console.log(results);
`;
}

function copyLine(object) {
  const [item, textContent] = [element("li"), nameOf(object)];
  item.append(object.url ? element("a", { textContent, href: object.url, target: "_blank", rel: "noopener noreferrer" }) : textContent);
  return item;
}

function entry([key, value]) {
  const words = typeof value === "string" ? value : JSON.stringify(value);
  return [element("dt", { textContent: key }), element("dd", { textContent: words })];
}
