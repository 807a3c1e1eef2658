// What the current query finds: asks for it, shows it page by page, and has words for everything else.

import { search } from "./api.js";
import { byId, on, say } from "./dom.js";
import * as grid from "./grid.js";
import { clearNotices, hideMessage, sayRemedy, showMessage, showNotice } from "./notices.js";
import { about, nameOf } from "./objects.js";
import { REMOVE_IMAGE, asProblem } from "./problems.js";
import { empty, isEmpty, liked } from "./query.js";
import * as selection from "./selection.js";
import * as viewer from "./viewer.js";

const PAGE = 24;
const PATIENCE = 60; // seconds of Retry-After that the page itself waits
const SKELETONS_AFTER = 150; // ms; a quicker answer replaces the old results without a flicker
const SAMPLE = "a nice view outdoors"; // finds some images to start from
const FOLDED = { collapse: "duplicates" };
const END = "Only the best 200 images are looked at, copies included: these are all. Narrow the search to see others."; // the API's notice, without its fields' names

let query = empty();
let results = [];
let next = null; // the cursor of the page after them
let running = new AbortController();
let counting = 0; // the seconds until the next attempt
let callbacks = {};

/** `given`: example(kind, result), part(file), likeThese(results), found(results), retry(), removeImage(),
 *  addImages(), clearFilters(), signIn(), isSignedIn(), textUnsupported(), expired(problem): whether that was dealt with. */
export function start(given) {
  callbacks = given;
  on("click", { more: loadMore });
  on("change", { order });
  viewer.start({ ...given, closed: grid.focusTile });
  selection.start({ ...given, removed, tell: (words) => say("status", words) });
}

/** In the place of an image with copies the next of them is found. */
function removed(names) {
  if (results.some((result) => names.has(nameOf(result)) && result.duplicates.length)) return run(query);
  results = results.filter((result) => !names.has(nameOf(result)));
  grid.removeTiles(names);
}

/** Searches for `next`; an empty query shows some of the collection. */
export async function run(asked) {
  const current = begin(asked);
  selection.clear();
  const slow = setTimeout(() => current() && grid.showSkeletons(), results.length ? SKELETONS_AFTER : 0);
  try {
    const answer = await ask({});
    if (current()) await show(answer, current);
  } catch (error) {
    if (current()) failed(error);
  } finally {
    clearTimeout(slow);
  }
}

/** Nothing is shown, and nothing that still runs will be. */
export function clear(asked) {
  begin(asked);
  selection.clear();
  forget();
}

/** Ends the running search, if any; the function it returns tells whether the new one is still the latest. */
function begin(asked) {
  query = asked;
  running.abort();
  running = new AbortController();
  const { signal } = running;
  clearNotices();
  hideMessage();
  clearInterval(counting);
  byId("more").hidden = true;
  say("end", "");
  say("status", isEmpty(query) ? "" : "Searching …");
  return () => !signal.aborted;
}

function ask(page) {
  const options = { limit: PAGE, ...page, signal: running.signal };
  return isEmpty(query) ? search({ ...query, text: SAMPLE, varied: false }, options) : search(query, { ...options, ...FOLDED });
}

async function show(answer, current) {
  if (answer.results.length === 0) return sayNothingIsVisible(answer);
  results = placed(answer.results, 0);
  await grid.showResults(results, { ...tiles(), current });
  if (current()) shown(answer);
}

async function loadMore() {
  const before = results.length;
  const current = begin(query);
  try {
    const answer = await ask({ cursor: next });
    if (current()) await add(answer, current);
    if (current()) grid.focusTile(Math.min(before, results.length - 1));
  } catch (error) {
    if (current()) failedToAdd(error);
  }
}

async function add(answer, current) {
  const known = new Set(results.map(({ id }) => id)); // the collection may have changed between two pages
  const fresh = placed(answer.results.filter(({ id }) => !known.has(id)), results.length);
  results = [...results, ...fresh];
  await grid.showResults(fresh, { ...tiles(), added: true, current });
  if (current()) shown(answer);
}

/** Each with its place in the answer's order: the words of a text count in it beside the similarity. */
const placed = (found, first) => found.map((result, index) => ({ ...result, place: first + index }));

function tiles() {
  const open = (result) => viewer.open(results, results.indexOf(result), query, next);
  const ranked = !isEmpty(query);
  return { ranked, divided: isDivided(), open, example: callbacks.example, choose: selection.toggle };
}

function shown(answer) {
  next = answer.next_cursor;
  byId("more").hidden = !next;
  say("end", answer.notice ? END : "");
  byId("status").title = `Model: ${answer.model}`;
  sayHowMany();
  callbacks.found(results);
  if (isByDate()) order();
}

/** Good matches by date, as Storage tells it, before the others; or all as the search has them. */
async function order() {
  const byDate = isByDate();
  const before = results;
  const good = byDate ? results.filter((result) => !grid.isLess(result)) : [];
  const dates = new Map(await Promise.all(good.map(async (result) => [result, (await about(result)).createdAt ?? ""])));
  if (before !== results || byDate !== isByDate()) return; // overtaken
  good.sort((a, b) => dates.get(b).localeCompare(dates.get(a)) || a.place - b.place);
  results = [...good, ...results.filter((result) => !dates.has(result)).sort((a, b) => a.place - b.place)];
  grid.reorder(results, isDivided());
  sayHowMany();
}

const isByDate = () => byId("order").value === "date";

/** Nothing is less similar where nothing is liked. */
const isDivided = () => liked(query).length > 0;

/** How many are shown; how many there are isn't known. */
function sayHowMany() {
  const shown = `${results.length} shown${next ? ", more below" : ""}`;
  say("status", isEmpty(query) ? `From this collection: ${shown}` : `${shown} · ${orderWords()}`);
}

function orderWords() {
  const good = results.filter((result) => !grid.isLess(result)).length;
  if (isByDate() && good) return good < results.length ? "good matches newest first" : "newest first";
  if (query.varied) return "varied";
  if (!liked(query).length) return "least similar first";
  return results.some(grid.foundBy) ? "best first, by image, name and metadata" : "most similar first";
}

function forget() {
  results = [];
  grid.clear();
  say("status", "");
}

/** Results come first, so an empty answer means that this visitor sees none: `notice` lists the possible reasons.
 *  The words are the same for missing and for hidden images. */
function sayNothingIsVisible({ notice }) {
  const { bucket } = query.filter;
  const isNarrow = Object.keys(query.filter).length > 0;
  const acts = isNarrow ? { "Clear filters": callbacks.clearFilters } : { "Add images": callbacks.addImages };
  if (!callbacks.isSignedIn()) acts["Sign in"] = callbacks.signIn;
  forget();
  say("status", "0 shown");
  const words = bucket ? `There is no bucket “${bucket}”, or nothing in it that you may see.` : "";
  showMessage(isNarrow ? "Nothing fits these filters" : "There are no images to show", words, acts, notice);
}

async function failed(error) {
  const problem = asProblem(error);
  forget(); // what was shown answers another question
  if (problem.type === "unauthorized" && (await callbacks.expired())) return;
  if (problem.type === "text-unsupported") callbacks.textUnsupported();
  if (problem.type === "text-unsupported" && isEmpty(query)) {
    showMessage("Start from an image", "Pick, paste or drop one: this collection is searched by image.");
  } else {
    tell(problem, callbacks.retry);
  }
}

async function failedToAdd(error) {
  const problem = asProblem(error);
  if (problem.type === "unauthorized" && (await callbacks.expired())) return;
  byId("more").hidden = false;
  sayHowMany();
  tell(problem, loadMore);
}

function tell({ words, detail, retryAfter }, retry) {
  const removing = words.act === REMOVE_IMAGE;
  const act = removing && !query.image ? null : words.act;
  showNotice({ ...words, act }, detail, removing ? callbacks.removeImage : retry);
  if (retryAfter && act && !removing) countDown(words, act, detail, retryAfter, retry);
}

/** Waits as long as the server asked for, then tries again; the button doesn't wait. */
function countDown(words, act, detail, seconds, retry) {
  if (seconds > PATIENCE) return showNotice({ ...words, remedy: `Try again in ${seconds} seconds.`, act }, detail, retry);
  const until = Date.now() + seconds * 1000;
  const tick = () => {
    const left = Math.ceil((until - Date.now()) / 1000);
    if (left > 0) return sayRemedy(`Trying again in ${left} s.`);
    clearInterval(counting);
    retry();
  };
  counting = setInterval(tick, 1000);
  tick();
}
