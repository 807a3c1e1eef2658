// The images in the current search, each removable.

import { byId, fromTemplate } from "./dom.js";
import { blobOf, showBlob } from "./images.js";
import { KINDS, baseName } from "./query.js";

const list = byId("chips");
const WORDS = { like: "More like", unlike: "Less like", image: "Like" };
const WEIGHTS = [0.5, 1, 2, 4];

/** `thumbnails` maps names to addresses; `remove(kind, name)` and `weigh(name, weight)` when a chip is used. */
export function showChips(query, thumbnails, { remove, weigh }) {
  const weight = (name) => query.weights[name] ?? 1;
  const chips = KINDS.flatMap((kind) => query[kind].map((name) => weighable(example(kind, name, thumbnails.get(name), remove), name, weight(name), weigh)));
  if (query.image) chips.unshift(ownImage(query.image, remove));
  list.replaceChildren(...chips);
  list.hidden = chips.length === 0;
}

function weighable(item, name, weight, weigh) {
  const choice = item.querySelector("select");
  choice.hidden = false;
  choice.ariaLabel = `Weight of ${baseName(name)}`;
  choice.append(...new Set([...WEIGHTS, weight]).values().map((one) => new Option(`×${one}`, one, one === weight, one === weight)));
  choice.addEventListener("change", () => weigh(name, Number(choice.value)));
  return item;
}

/** Shows the thumbnails that came later, by name. */
export function addThumbnails(found) {
  for (const item of list.children) {
    const url = found.get(item.querySelector(".name").title);
    if (!url || item.querySelector("img")) continue;
    const img = Object.assign(document.createElement("img"), { alt: "", src: url });
    img.addEventListener("error", () => img.remove());
    item.prepend(img);
  }
}

export function focusChip() {
  const button = list.querySelector("button") ?? byId("text");
  button.focus();
}

function example(kind, name, thumbnail, remove) {
  const item = chip(kind, name, remove);
  const img = item.querySelector("img");
  if (thumbnail) img.src = thumbnail;
  else img.remove();
  img.addEventListener("error", () => img.remove());
  return item;
}

function ownImage({ key, name }, remove) {
  const item = chip("image", name, remove);
  const blob = blobOf(key);
  if (blob) showBlob(item.querySelector("img"), blob);
  else item.querySelector("img").remove();
  return item;
}

function chip(kind, name, remove) {
  const item = fromTemplate("chip-template");
  item.dataset.kind = kind;
  item.querySelector(".kind").textContent = WORDS[kind];
  item.querySelector(".name").textContent = baseName(name);
  item.querySelector(".name").title = name;
  item.querySelector("button").ariaLabel = `Remove: ${WORDS[kind].toLowerCase()} ${baseName(name)}`;
  item.querySelector("button").addEventListener("click", () => remove(kind, name));
  return item;
}
