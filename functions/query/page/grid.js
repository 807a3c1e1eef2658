// The grid of results. Rows are justified: each tile grows with its image's proportions, so that nothing is cropped.

import { byId, element, fill, fromTemplate } from "./dom.js";
import { nameOf } from "./objects.js";
import { baseName } from "./query.js";

const list = byId("results");
const FIRST_ROW = 4; // loaded before all else
const FIRST_ROWS = 12; // loaded at once, the rest as they come near
const WAIT_FOR_SHAPES = 400; // ms that new tiles wait for their images' proportions: less jumping about
const SKELETONS = [1.5, 1, 1.33, 0.75, 1.5, 1.33, 1.5, 0.8, 1.33, 1.5, 1, 1.4];
const CONFIDENCES = { same: "same image", strong: "strong", related: "related" }; // above the unrelated there is a line instead
const [NARROW, WIDE] = [0.5, 3.2]; // the proportions of tiles, of all images
const KEYS = { x: ".choice input", "+": "[data-kind=like]", "-": "[data-kind=unlike]" };

list.addEventListener("keydown", walk);

export const rounded = (similarity) => similarity.toFixed(2);

/** "found by its name", or by metadata, or both; "" where pixels alone found it. */
export function foundBy({ found_by: sources }) {
  const words = (sources ?? []).filter((source) => source !== "image").join(" and ");
  return words && `found by its ${words}`;
}

/** Whether it lies below the line: neither its pixels nor a word of it are near to the query. */
export const isLess = (result) => result.confidence === "unrelated" && !foundBy(result);

/** The similarity in a word; "" while the API can't tell. */
export const confidence = (result) => (result.confidence === "unrelated" && foundBy(result)) || (CONFIDENCES[result.confidence] ?? "");

export const copies = ({ duplicates: { length } }) => length && (length === 1 ? "1 copy" : `${length} copies`);

export function showSkeletons() {
  list.replaceChildren(...SKELETONS.map(skeleton));
  list.ariaBusy = "true";
}

function skeleton(ratio) {
  const item = element("li", { className: "tile skeleton" });
  item.style.setProperty("--ratio", ratio);
  return item;
}

/** Replaces what is shown, or adds to it; `divided` draws a line above those that are less similar.
 *  `on` has open(result), example(kind, result) and choose(result, box). */
export async function showResults(results, { added, ranked, divided, current, ...on }) {
  const tiles = results.map((result, index) => tile(result, { place: index, ranked, on }));
  await shapesOf(tiles.slice(0, FIRST_ROWS));
  if (!current()) return; // another search began meanwhile
  if (!added) clear();
  list.append(...tiles);
  if (divided) divide();
}

/** Where the less similar come last: not where one that is found by its name, or varied, follows them. */
function divide() {
  for (const item of list.querySelectorAll(".filler, .divider")) item.remove();
  const first = list.querySelector(".less");
  if (!first || list.querySelector(".less ~ .tile:not(.less)")) return;
  const filler = element("li", { className: "filler", ariaHidden: "true" }); // the row above keeps its height
  const textContent = list.querySelector(".tile:not(.less)") ? "Less similar" : "No close match; the nearest are:";
  first.before(filler, element("li", { className: "divider", textContent }));
}

/** Puts the tiles into the order of `results`, of which some may have none yet. */
export function reorder(results, divided) {
  const tiles = new Map([...list.querySelectorAll(".tile")].map((item) => [item.dataset.key, item]));
  list.append(...results.map((result) => tiles.get(nameOf(result))).filter(Boolean));
  if (divided) divide();
}

/** Takes the tiles of these bucket/names away. */
export function removeTiles(names) {
  for (const item of list.querySelectorAll(".tile")) if (names.has(item.dataset.key)) item.remove();
}

export function clear() {
  list.replaceChildren();
  list.ariaBusy = "false";
}

export const focusTile = (index) => list.querySelectorAll(".open")[index]?.focus();

/** Arrow keys go from tile to tile; some letters do what the tile's buttons do. */
function walk(event) {
  const tiles = [...list.querySelectorAll(".tile")];
  const index = tiles.findIndex((item) => item.firstElementChild === event.target);
  if (index < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
  const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
  const next = { ArrowLeft: index - 1, ArrowRight: index + 1, Home: 0, End: tiles.length - 1 }[event.key];
  const target = step ? nearest(tiles, tiles[index], step) : tiles[next];
  if (target) { event.preventDefault(); target.firstElementChild.focus(); }
  if (KEYS[event.key]) tiles[index].querySelector(KEYS[event.key]).click();
}

/** The tile of the next row, up (-1) or down (1), that is nearest; undefined where there is none. */
function nearest(tiles, from, step) {
  const beyond = (item) => step * (item.offsetTop - from.offsetTop);
  const aside = (item) => Math.abs(item.offsetLeft + item.offsetWidth / 2 - from.offsetLeft - from.offsetWidth / 2);
  return tiles.filter((item) => beyond(item) > 0).sort((a, b) => beyond(a) - beyond(b) || aside(a) - aside(b))[0];
}

function tile(result, { place, ranked, on }) {
  const item = fromTemplate("tile-template");
  const name = baseName(result.name);
  item.dataset.key = nameOf(result);
  fill(item, { ".name": name, ".copies": copies(result) ? `+ ${copies(result)}` : "" });
  item.querySelector(".name").title = nameOf(result);
  if (ranked) rank(item, result);
  const box = item.querySelector("input");
  const isChoice = ({ detail }) => detail && list.matches(".choosing"); // detail: 0 for a click by Enter, which opens
  item.querySelector(".open").addEventListener("click", (event) => (isChoice(event) ? box.click() : on.open(result)));
  box.ariaLabel = `Select ${name}`;
  box.addEventListener("change", () => on.choose(result, box));
  for (const button of item.querySelectorAll("[data-kind]")) {
    button.ariaLabel = `${button.title}: ${name}`;
    button.addEventListener("click", () => on.example(button.dataset.kind, result));
  }
  showImage(item, result, place);
  return item;
}

function rank(item, result) {
  fill(item, { ".similarity": rounded(result.similarity), ".confidence": confidence(result) });
  item.classList.toggle("less", isLess(result));
  item.dataset.confidence = result.confidence ?? "";
}

function showImage(item, result, place) {
  const img = item.querySelector("img");
  img.alt = baseName(result.name);
  img.loading = place < FIRST_ROWS ? "eager" : "lazy";
  img.fetchPriority = place < FIRST_ROW ? "high" : "auto";
  img.addEventListener("load", () => shape(item, img));
  showFirst(img, [result.preview, result.url], () => item.classList.add("broken")); // its name stays readable
}

/** Shows the first of `urls` that can be shown, such as a preview and then the original; else `failed()`. */
export function showFirst(img, urls, failed) {
  const left = urls.filter(Boolean);
  img.onerror = () => {
    if (left.length) img.src = left.shift();
    else { img.removeAttribute("src"); failed(); }
  };
  img.onerror();
}

function shape(item, img) {
  const ratio = img.naturalWidth / img.naturalHeight || 1;
  item.style.setProperty("--ratio", Math.min(WIDE, Math.max(NARROW, ratio)));
  item.classList.add("loaded");
}

function shapesOf(tiles) {
  const images = tiles.filter((item) => !item.classList.contains("broken")).map((item) => item.querySelector("img"));
  const settled = images.map((img) => new Promise((resolve) => ["load", "error"].forEach((event) => img.addEventListener(event, resolve))));
  return Promise.race([Promise.all(settled), new Promise((resolve) => setTimeout(resolve, WAIT_FOR_SHAPES))]);
}
