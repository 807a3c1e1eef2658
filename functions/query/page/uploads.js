// Adding images: a panel with one line per file, from waiting to searchable.

import { upload } from "./api.js";
import { byId, disclosure, element, fill, fromTemplate, on, picker, say } from "./dom.js";
import { showBlob } from "./images.js";
import { REMOVE_IMAGE, asProblem } from "./problems.js";
import { states } from "./project.js";
import { expire } from "./session.js";

const AT_ONCE = 3;
const [LOOK_AFTER, LOOK_AT_MOST] = [1000, 8000]; // ms between two looks at what isn't searchable yet
const PATIENCE = 60; // seconds of Retry-After that are waited for, without a word of the visitor's
const KEPT = "uploads"; // in the tab's storage: what became of them is told after a reload, too
const SENDING = ["waiting", "sending", "embedding"];
const UNSETTLED = [...SENDING, "pending"];
const tasks = [];
const panel = byId("uploads");
const open = disclosure(byId("open-uploads"), panel, () => byId("choose").focus());
const waiting = [];
let running = 0;
let targetChosen = false;
let whenSearchable = () => {};
let findSimilar = () => {};

const OUTCOMES = {
  searchable: () => "Searchable",
  pending: () => "Stored; it becomes searchable in a moment",
  skipped: (reason) => `Skipped: ${reason}`,
  failed: (reason) => `Failed: ${reason}`,
  ignored: (reason) => `Stored, but not searchable: ${reason}`,
};

/** `onSearchable()` after each batch that added something, `onFind(name)` to search by an uploaded image. */
export function start({ onSearchable, onFind }) {
  whenSearchable = onSearchable;
  findSimilar = onFind;
  panel.addEventListener("keydown", (event) => event.key === "Escape" && closePanel());
  on("click", { "close-uploads": closePanel, "unfold": openPanel });
  on("input", { bucket: retarget, folder: retarget });
  picker(byId("choose"), byId("choose-files"), addFiles);
  window.addEventListener("beforeunload", warn);
  restore();
}

/** Only while bytes are still to be sent: what is stored goes on without this page. */
function warn(event) {
  if (tasks.some(({ state }) => state === "waiting" || state === "sending")) event.preventDefault();
}

function keep() {
  const left = tasks.filter(({ state }) => UNSETTLED.includes(state)).map(({ bucket, name }) => ({ bucket, name }));
  sessionStorage.setItem(KEPT, JSON.stringify(left));
}

function restore() {
  const left = JSON.parse(sessionStorage.getItem(KEPT) ?? "[]");
  if (left.length) [panel.hidden, byId("open-uploads").ariaExpanded] = [false, "true"]; // without taking the focus
  for (const { bucket, name } of left) {
    const task = { bucket, name, row: fromTemplate("file-template"), restored: true };
    task.row.querySelector("img").remove();
    show(task);
    report(task, "pending", OUTCOMES.pending());
    followUp(task);
  }
}

/** Looks again and again until it is searchable or never will be. */
async function followUp(task, pause = LOOK_AFTER) {
  if (!tasks.includes(task)) return;
  const row = await states(task.bucket, [task.name]).then((found) => found.get(task.name)).catch(() => null);
  if (task.restored && row?.state === "unknown") return report(task, "failed", "Interrupted before it was stored. Choose the file again.");
  if (row && row.state !== "pending") return finish(task, row);
  setTimeout(() => followUp(task, Math.min(pause * 1.5, LOOK_AT_MOST)), pause);
}

/** The visitor has signed out: files that aren't sent yet never are, and of the rest nothing is told. */
export function forget() {
  tasks.length = waiting.length = 0;
  byId("files").replaceChildren();
  [targetChosen, byId("folder").value, byId("folded").hidden] = [false, "", true];
  proposeBucket();
  sessionStorage.removeItem(KEPT);
  summarize();
}

export const openPanel = () => open(true);

/** Results are asked for: of the panel, one line is left, where it has something to tell. */
export function fold() {
  byId("folded").hidden &&= panel.hidden || !tasks.length;
  open(false);
}

function closePanel() {
  open(false);
  byId("folded").hidden = true;
  byId("open-uploads").focus();
}

/** Proposes the bucket that the visitor narrows the search to, until they have chosen one. Neither results nor links move it: one may be private, and another somebody else's. */
export function proposeBucket(bucket) {
  if (targetChosen) return;
  byId("bucket").value = bucket ?? byId("bucket").defaultValue;
  showTarget();
}

function retarget() {
  targetChosen = true;
  showTarget();
}

function showTarget() {
  say("target", [byId("bucket").value.trim(), folder()].filter(Boolean).join("/"));
}

function folder() {
  return byId("folder").value.split("/").map((part) => part.trim()).filter(Boolean).join("/");
}

/** Queues `files` for upload into the chosen bucket and folder. */
export async function addFiles(files) {
  if (panel.hidden) openPanel();
  for (const file of files) add(file, [folder(), await storageName(file.name)].filter(Boolean).join("/"));
}

function add(file, name) {
  const task = { file, name, bucket: byId("bucket").value.trim(), replace: false, row: fromTemplate("file-template") };
  showBlob(task.row.querySelector("img"), file);
  show(task);
  enqueue(task);
}

function show(task) {
  byId("files").prepend(task.row);
  tasks.push(task);
}

function enqueue(task) {
  if (!tasks.includes(task)) return; // forgotten while it waited
  report(task, "waiting", "Waiting");
  waiting.push(task);
  work();
}

async function work() {
  if (running >= AT_ONCE || waiting.length === 0) return;
  running += 1;
  await send(waiting.shift());
  running -= 1;
  if (running === 0 && waiting.length === 0 && count(isSearchable)) whenSearchable();
  work();
}

async function send(task) {
  report(task, "sending", "Uploading");
  try {
    finish(task, await upload(task, (part) => showProgress(task, part)));
  } catch (error) {
    const problem = asProblem(error);
    if (problem.type === "unauthorized") await expire();
    if (problem.retryAfter <= PATIENCE && problem.retryAfter && !task.waited) waitFor(task, problem.retryAfter);
    else fail(task, problem);
  }
}

/** Once: the server is full, and said when to come back. */
function waitFor(task, seconds) {
  task.waited = true;
  report(task, "waiting", `The server is busy. Trying again in ${seconds} s`);
  setTimeout(() => enqueue(task), seconds * 1000);
}

function showProgress(task, part) {
  task.row.querySelector("progress").value = part;
  if (part === 1) report(task, "embedding", "Making it searchable");
}

function finish(task, { state, reason }) {
  if (state === "pending") {
    report(task, state, OUTCOMES.pending());
    return followUp(task);
  }
  const outcome = OUTCOMES[state] ?? ((why) => `${state}${why ? `: ${why}` : ""}`);
  report(task, state, outcome(reason ?? "no reason was given"));
  if (state !== "searchable") return;
  if (running === 0) whenSearchable(); // followed, after its batch
  offer(task, { "Find similar": () => findSimilar(`${task.bucket}/${task.name}`) });
}

function fail(task, problem) {
  if (problem.type === "object-exists") offerNames(task, problem);
  else offerRetry(task, problem);
}

function offerNames(task, problem) {
  report(task, "taken", problem.words.title);
  offer(task, {
    "Keep both": () => retry(task, { name: nextName(task.name) }),
    "Replace": () => retry(task, { replace: true }),
  });
}

function offerRetry(task, { words, detail }) {
  const isFinal = words.act === REMOVE_IMAGE; // the same file would fail again
  report(task, "failed", `Failed: ${words.title}. ${isFinal ? words.remedy : detail || words.remedy}`);
  if (!isFinal) offer(task, { "Try again": () => retry(task, {}) });
}

function retry(task, changes) {
  offer(task, {});
  byId("choose").focus(); // the button that was used is gone
  enqueue(Object.assign(task, changes));
}

/** `fish.jpg` becomes `fish-2.jpg`, and that `fish-3.jpg`. */
function nextName(name) {
  const [, stem, number, extension] = name.match(/^(.*?)(?:-(\d+))?(\.[^./]*)?$/s);
  return `${stem}-${Number(number ?? 1) + 1}${extension ?? ""}`;
}

function report(task, state, words) {
  task.state = task.row.dataset.state = state;
  const renamed = task.file && !task.name.endsWith(task.file.name);
  fill(task.row, { ".name": renamed ? `${task.file.name} → ${task.name}` : task.name, ".outcome": words });
  task.row.querySelector(".name").title = task.name;
  const progress = task.row.querySelector("progress");
  progress.hidden = !SENDING.includes(state);
  if (state === "embedding") progress.removeAttribute("value"); // how long that takes isn't known
  if (state === "waiting") progress.value = 0;
  keep();
  summarize();
}

/** Shows one button for each of `acts`, by label. */
function offer(task, acts) {
  task.row.querySelector(".acts").replaceChildren(...Object.entries(acts).map(([label, act]) => actButton(task, label, act)));
}

function actButton(task, label, act) {
  return element("button", { type: "button", className: "button small", textContent: label, ariaLabel: `${label}: ${task.name}`, onclick: act });
}

const count = (wanted) => tasks.filter(wanted).length;

const isSearchable = ({ state }) => state === "searchable";

function summarize() {
  const [total, done] = [tasks.length, count(({ state }) => !UNSETTLED.includes(state))];
  const words = !total ? "" : done < total ? `${done} of ${total} done` : `Done: ${count(isSearchable)} of ${total} searchable`;
  say("unfold", `${count(isSearchable)} of ${total} added`);
  const summary = byId("upload-summary");
  if (summary.textContent !== words) summary.textContent = words; // announced only when it changes
}

/** `name` with only the characters that Storage takes in an object's name; other letters become Latin ones. */
async function storageName(name) {
  const plain = /^[\x00-\x7f]*$/.test(name) ? name : (await import("./vendor/any-ascii.js")).default(name.normalize("NFC"));
  return plain.replace(/[^A-Za-z0-9_!.*'() &$=@;:+,?-]+/g, "-") || "image";
}
