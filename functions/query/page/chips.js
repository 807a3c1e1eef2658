// The images in the current search, each removable.

import { byId, fromTemplate } from "./dom.js";
import { blobOf, showBlob } from "./images.js";
import { KINDS, baseName } from "./query.js";

const list = byId("chips");
const WORDS = { like: "More like", unlike: "Less like", image: "Like" };

/** `thumbnails` maps names to addresses; `remove(kind, name)` is called when a chip's button is used. */
export function showChips(query, thumbnails, remove) {
  const chips = KINDS.flatMap((kind) => query[kind].map((name) => example(kind, name, thumbnails.get(name), remove)));
  if (query.image) chips.unshift(ownImage(query.image, remove));
  list.replaceChildren(...chips);
  list.hidden = chips.length === 0;
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
