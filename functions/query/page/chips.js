// The images in the current search, each removable.

import { byId, element, fill, fromTemplate } from "./dom.js";
import { blobOf, showBlob } from "./images.js";
import { KINDS, baseName } from "./query.js";

const list = byId("chips");
const WORDS = { like: "More like", unlike: "Less like", image: "Like" };
const WEIGHTS = [0.5, 1, 2, 4];

/** `remove(kind, name)` and `weigh(name, weight)` when a chip is used. */
export function showChips(query, { remove, weigh }) {
  const examples = KINDS.flatMap((kind) => query[kind].map((name) => weighable(chip(kind, name, remove), name, query.weights[name] ?? 1, weigh)));
  list.replaceChildren(...(query.image ? [ownImage(query.image, remove)] : []), ...examples);
  list.hidden = !list.hasChildNodes();
}

function weighable(item, name, weight, weigh) {
  const choice = item.querySelector("select");
  choice.hidden = false;
  choice.ariaLabel = `Weight of ${baseName(name)}`;
  choice.append(...[...new Set([...WEIGHTS, weight])].map((one) => new Option(`×${one}`, one, one === weight, one === weight)));
  choice.addEventListener("change", () => weigh(name, Number(choice.value)));
  return item;
}

/** Shows those of `thumbnails`, addresses by name, that aren't shown yet. */
export function addThumbnails(thumbnails) {
  for (const item of list.children) {
    const src = thumbnails.get(item.querySelector(".name").title);
    if (src && !item.querySelector("img")) item.prepend(element("img", { alt: "", src, onerror: ({ target }) => target.remove() }));
  }
}

export function focusChip() {
  (list.querySelector("button") ?? byId("text")).focus();
}

function ownImage({ key, name }, remove) {
  const item = chip("image", name, remove);
  const blob = blobOf(key);
  if (!blob) return item;
  item.prepend(element("img", { alt: "" }));
  showBlob(item.firstChild, blob);
  return item;
}

function chip(kind, name, remove) {
  const item = fromTemplate("chip-template");
  item.dataset.kind = kind;
  fill(item, { ".kind": WORDS[kind], ".name": baseName(name) });
  item.querySelector(".name").title = name;
  const button = item.querySelector("button");
  button.ariaLabel = `Remove: ${WORDS[kind].toLowerCase()} ${baseName(name)}`;
  button.addEventListener("click", () => remove(kind, name));
  return item;
}
