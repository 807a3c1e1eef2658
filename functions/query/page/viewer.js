// One result, large, over the page. It has an entry of its own in the history, so that Back closes it.

import * as crop from "./crop.js";
import { byId, element, onClick } from "./dom.js";
import { confidence, copies, rounded, showFirst, sourcesOf } from "./grid.js";
import { about, links, nameOf } from "./objects.js";
import { isEmpty, nameOfClosest } from "./query.js";

const viewer = byId("viewer");
const image = byId("viewer-image");
const ENLARGED = 1.75; // small images are shown up to this much larger than they are
const SWIPE = 60; // px
let shown = { results: [], index: 0 };
let on = {};

/** Opens `results[index]` of what `query` found; the arrows walk through the others. */
export function open(results, index, query) {
  shown = { results, index, query };
  history.pushState({ ...history.state, viewer: true }, "");
  show();
  viewer.showModal();
}

export const isOpen = () => viewer.open;

/** Called when the history has gone back; everything else that closes goes back first. */
export function hide() {
  viewer.close();
}

const close = () => history.back();

/** `callbacks`: example(kind, result), part(file), closed(index) with the image last seen. */
export function start(callbacks) {
  on = callbacks;
  onClick({
    "previous": () => step(-1),
    "next": () => step(1),
    "close-viewer": close,
    "viewer-like": () => choose("like"),
    "viewer-unlike": () => choose("unlike"),
    "viewer-part": () => crop.begin(image, (file) => { viewer.close(); on.part(file); }),
    "viewer-link": () => copyText("link", linkOf),
    "viewer-snippet": () => copyText("snippet", snippetOf),
  });
  image.addEventListener("load", limitSize);
  viewer.addEventListener("keydown", turnPages);
  viewer.addEventListener("click", (event) => event.target === viewer && close()); // beside the picture
  viewer.addEventListener("cancel", cancel);
  viewer.addEventListener("close", () => { crop.end(); on.closed(shown.index); });
  swipe(viewer.querySelector(".stage"));
}

function cancel(event) {
  event.preventDefault();
  if (crop.isActive()) crop.end();
  else close();
}

function choose(kind) {
  viewer.close();
  on.example(kind, shown.results[shown.index]);
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
  const index = shown.index + by;
  if (index < 0 || index >= shown.results.length) return;
  shown.index = index;
  show();
}

function show() {
  const result = shown.results[shown.index];
  crop.end();
  image.alt = result.name;
  byId("viewer-broken").hidden = true;
  showFirst(image, [result.url, large(result.preview)], () => { byId("viewer-broken").hidden = false; });
  byId("viewer-part").disabled = !result.url;
  byId("viewer-name").textContent = nameOf(result);
  byId("viewer-facts").textContent = facts(result).join(" · ");
  byId("viewer-outcome").textContent = "";
  byId("viewer-original").href = result.url ?? "";
  byId("viewer-original").hidden = !result.url;
  byId("viewer-copies").replaceChildren(...result.duplicates.map(copy));
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
  byId("viewer-facts").textContent = [...facts(result), ...stored].join(" · ");
}

const sized = (bytes) => (bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(2)} MB`);

function limitSize() {
  image.style.maxWidth = `${image.naturalWidth * ENLARGED}px`;
  image.style.maxHeight = `${image.naturalHeight * ENLARGED}px`;
}

function facts(result) {
  const facts = isEmpty(shown.query) ? [] : meaning(result);
  if (result.duplicates.length) facts.push(copies(result.duplicates.length));
  return [...facts, `${shown.index + 1} of ${shown.results.length}`];
}

function meaning(result) {
  const closest = nameOfClosest(shown.query, result.closest);
  const why = sourcesOf(result) && `found by its ${sourcesOf(result)}`;
  const said = [`similarity ${rounded(result.similarity)}`, confidence(result), confidence(result) !== why && why, closest && `closest to ${closest}`];
  return said.filter(Boolean);
}

async function copyText(what, textOf) {
  const outcome = byId("viewer-outcome");
  try {
    await navigator.clipboard.writeText(await textOf(shown.results[shown.index]));
    outcome.textContent = what === "link" ? "Link copied. Whoever has it sees the image for an hour." : "Snippet copied";
  } catch (error) {
    outcome.textContent = `The ${what} can't be copied: ${error.message}`;
  }
}

async function linkOf(result) {
  const url = (await links([result])).get(nameOf(result)) ?? result.url;
  if (!url) throw new Error("Storage gives you no address for it.");
  return url;
}

const snippetOf = (result) => `const response = await fetch(${JSON.stringify(new URL("query", import.meta.url))}, {
  method: "POST",
  headers: { "Content-Type": "application/json", ...(accessToken && { Authorization: \`Bearer \${accessToken}\` }) },
  body: JSON.stringify({ like: [${JSON.stringify(nameOf(result))}], limit: 12 }),
});
const { results } = await response.json();`;

function copy({ url, name, bucket }) {
  const item = element("li");
  const textContent = `${bucket}/${name}`;
  item.append(url ? element("a", { textContent, href: url, target: "_blank", rel: "noopener noreferrer" }) : textContent);
  return item;
}

function entry([key, value]) {
  const words = typeof value === "string" ? value : JSON.stringify(value);
  return [element("dt", { textContent: key }), element("dd", { textContent: words })];
}
