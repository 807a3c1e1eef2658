// One result, large, over the page.

import { byId } from "./dom.js";
import { confidence, copies, nameOf, rounded } from "./grid.js";
import { isEmpty, nameOfClosest } from "./query.js";

const viewer = byId("viewer");
const ENLARGED = 1.75; // small images are shown up to this much larger than they are
let shown = { results: [], index: 0 };

/** Opens `results[index]` of what `query` found; the arrows walk through the others. */
export function open(results, index, query) {
  shown = { results, index, query };
  show();
  viewer.showModal();
}

export const close = () => viewer.close();

/** `onExample(kind, result)` when one of the two buttons is used, `onClose(index)` with the image last seen. */
export function start({ onExample, onClose }) {
  byId("previous").addEventListener("click", () => step(-1));
  byId("next").addEventListener("click", () => step(1));
  byId("close-viewer").addEventListener("click", close);
  for (const kind of ["like", "unlike"]) byId(`viewer-${kind}`).addEventListener("click", () => choose(kind, onExample));
  byId("viewer-image").addEventListener("load", limitSize);
  viewer.addEventListener("keydown", turnPages);
  viewer.addEventListener("click", (event) => event.target === viewer && close()); // beside the picture
  viewer.addEventListener("close", () => onClose(shown.index));
}

function choose(kind, onExample) {
  close();
  onExample(kind, shown.results[shown.index]);
}

function turnPages(event) {
  if (event.key === "ArrowLeft") step(-1);
  if (event.key === "ArrowRight") step(1);
}

function step(by) {
  const index = shown.index + by;
  if (index < 0 || index >= shown.results.length) return;
  shown.index = index;
  show();
}

function show() {
  const result = shown.results[shown.index];
  const img = byId("viewer-image");
  img.src = result.url ?? "";
  img.alt = result.name;
  byId("viewer-name").textContent = result.name;
  byId("viewer-facts").textContent = facts(result).join(" · ");
  byId("viewer-original").href = result.url ?? "";
  byId("viewer-original").hidden = !result.url;
  byId("viewer-copies").replaceChildren(...result.duplicates.map(copy));
  byId("viewer-metadata").replaceChildren(...Object.entries(result.metadata ?? {}).flatMap(entry));
  byId("previous").disabled = shown.index === 0;
  byId("next").disabled = shown.index === shown.results.length - 1;
  viewer.dataset.name = nameOf(result);
}

function limitSize({ target: img }) {
  img.style.maxWidth = `${img.naturalWidth * ENLARGED}px`;
  img.style.maxHeight = `${img.naturalHeight * ENLARGED}px`;
}

function facts(result) {
  const facts = [`in ${result.bucket}`];
  if (!isEmpty(shown.query)) facts.push(...meaning(result));
  if (result.duplicates.length) facts.push(copies(result.duplicates.length));
  return [...facts, `${shown.index + 1} of ${shown.results.length}`];
}

function meaning(result) {
  const closest = nameOfClosest(shown.query, result.closest);
  const said = [`similarity ${rounded(result.similarity)}`, confidence(result), closest && `closest to ${closest}`];
  return said.filter(Boolean);
}

function copy({ url, name, bucket }) {
  const item = document.createElement("li");
  const link = document.createElement(url ? "a" : "span");
  link.textContent = `${bucket}/${name}`;
  if (url) Object.assign(link, { href: url, target: "_blank", rel: "noopener noreferrer" });
  item.append(link);
  return item;
}

function entry([key, value]) {
  const term = document.createElement("dt");
  const detail = document.createElement("dd");
  term.textContent = key;
  detail.textContent = typeof value === "string" ? value : JSON.stringify(value);
  return [term, detail];
}
