// The grid of results. Rows are justified: each tile grows with its image's proportions, so that nothing is cropped.

import { byId, fromTemplate } from "./dom.js";
import { baseName } from "./query.js";

const list = byId("results");
const FIRST_ROWS = 12; // loaded at once, the rest as they come near
const WAIT_FOR_SHAPES = 400; // ms that new tiles wait for their images' proportions: less jumping about
const SKELETONS = [1.5, 1, 1.33, 0.75, 1.5, 1.33, 1.5, 0.8, 1.33, 1.5, 1, 1.4];
const CONFIDENCES = { same: "same image", strong: "strong", related: "related", unrelated: "less similar" };
const CALM_RATIOS = [0.5, 3.2]; // what is narrower or wider is shown within these

export const nameOf = (result) => `${result.bucket}/${result.name}`;

/** The cosine similarity as the API gives it, shortened. */
export const rounded = (similarity) => similarity.toFixed(2);

/** What that similarity means in this collection, in a word; "" while the API can't tell. */
export const confidence = (result) => CONFIDENCES[result.confidence] ?? "";

export const copies = (count) => (count === 1 ? "1 copy" : `${count} copies`);

export function showSkeletons() {
  list.replaceChildren(...SKELETONS.map(skeleton));
  list.ariaBusy = "true";
}

function skeleton(ratio) {
  const tile = document.createElement("li");
  tile.className = "tile skeleton";
  tile.style.setProperty("--ratio", ratio);
  return tile;
}

/** Replaces what is shown, or adds to it; `divided` draws a line above the first that is less similar.
 *  `on` has open(result) and example(kind, result). */
export async function showResults(results, { added, ranked, divided, current, ...on }) {
  const tiles = results.map((result, index) => tile(result, { eager: index < FIRST_ROWS, ranked, on }));
  await shapesOf(tiles.slice(0, FIRST_ROWS));
  if (!current()) return; // another search began meanwhile
  list.ariaBusy = "false";
  if (!added) list.replaceChildren();
  list.append(...tiles);
  if (divided) divide();
}

function divide() {
  const first = list.querySelector('.tile[data-confidence="unrelated"]');
  if (!first || list.querySelector(".divider")) return;
  const [filler, line] = [document.createElement("li"), document.createElement("li")];
  filler.className = "filler"; // the row above keeps its height
  filler.ariaHidden = "true";
  line.className = "divider";
  line.textContent = "Less similar";
  first.before(filler, line);
}

export function clear() {
  list.replaceChildren();
  list.ariaBusy = "false";
}

export const focusTile = (index) => list.querySelectorAll(".open")[index]?.focus();

function tile(result, { eager, ranked, on }) {
  const item = fromTemplate("tile-template");
  item.querySelector(".name").textContent = baseName(result.name);
  item.querySelector(".name").title = nameOf(result);
  item.querySelector(".similarity").textContent = ranked ? rounded(result.similarity) : "";
  item.querySelector(".confidence").textContent = ranked ? confidence(result) : "";
  item.dataset.confidence = ranked ? result.confidence ?? "" : "";
  item.querySelector(".copies").textContent = result.duplicates.length ? `+ ${copies(result.duplicates.length)}` : "";
  item.querySelector(".open").addEventListener("click", () => on.open(result));
  for (const button of item.querySelectorAll("[data-kind]")) {
    button.ariaLabel = `${button.title}: ${baseName(result.name)}`;
    button.addEventListener("click", () => on.example(button.dataset.kind, result));
  }
  showImage(item, result, eager);
  return item;
}

function showImage(item, result, eager) {
  const img = item.querySelector("img");
  img.alt = baseName(result.name);
  img.loading = eager ? "eager" : "lazy";
  img.addEventListener("load", () => shape(item, img));
  img.addEventListener("error", () => item.classList.add("broken")); // its name stays readable
  if (result.url) img.src = result.url;
  else item.classList.add("broken");
}

function shape(item, img) {
  const [narrow, wide] = CALM_RATIOS;
  const ratio = img.naturalWidth / img.naturalHeight || 1;
  item.style.setProperty("--ratio", Math.min(wide, Math.max(narrow, ratio)));
  item.classList.add("loaded");
}

function shapesOf(tiles) {
  const settled = tiles.map((item) => {
    const img = item.querySelector("img");
    if (item.classList.contains("broken")) return null;
    return new Promise((resolve) => ["load", "error"].forEach((event) => img.addEventListener(event, resolve)));
  });
  return Promise.race([Promise.all(settled), new Promise((resolve) => setTimeout(resolve, WAIT_FOR_SHAPES))]);
}
