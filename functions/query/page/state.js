// The state of the index, as far as the visitor may see it.

import { byId, disclosure, fill, fromTemplate, on, say } from "./dom.js";
import { buckets } from "./filters.js";
import { filesIn, nameOf, storeAgain } from "./objects.js";
import { data, states } from "./project.js";

const [PAGE, BATCH, MOST] = [1000, 250, 5000];
const LONGEST = 1024; // characters of an object's name: Storage takes no more
const WORDS = { searchable: "searchable", pending: "waiting", failed: "failed", skipped: "skipped", ignored: "not indexed" };
let target = {};

disclosure(byId("open-state"), byId("state"), look);
on("click", { "refresh-state": look });

/** Looks at the bucket and the folder of a filter where they are others than before; without a bucket at all that the visitor sees. */
export function follow({ bucket, folder }) {
  if (bucket === target.bucket && folder === target.folder) return;
  target = { bucket, folder };
  lookAgain();
}

export function lookAgain() {
  if (!byId("state").hidden) look();
}

/** Another visitor sees other files: a look that still runs is overtaken. */
export function forget() {
  target = { ...target };
  say("state-summary", "");
  byId("state-list").replaceChildren();
  lookAgain();
}

async function look() {
  const { bucket, folder = "" } = target = { ...target };
  const own = target;
  const current = () => own === target;
  say("state-of", [bucket ?? "All buckets", folder].filter(Boolean).join("/"));
  say("state-summary", "Looking …");
  byId("state-list").replaceChildren();
  const found = [];
  try {
    for (const one of bucket ? [bucket] : await buckets()) found.push(...(await statesIn(one, folder, MOST - found.length, current)));
    if (current()) show(found);
  } catch (error) {
    if (current()) say("state-summary", `You may not see this, or it can't be had now: ${error.message}`);
  }
}

/** At most `most` names, from the folder and those below it; no more calls once `current()` is false. Folders keep their slash: one may have the empty name. */
async function namesIn(bucket, folder, most, current) {
  const files = await filesIn(bucket);
  const [names, waiting] = [[], [folder && !folder.endsWith("/") ? `${folder}/` : folder]];
  const enough = () => !current() || names.length + waiting.length >= most; // in each folder that waits there is a file
  while (waiting.length && names.length < most && current()) {
    const parent = waiting.shift();
    for (let offset = 0, rows = null; !rows || (rows.length === PAGE && !enough()); offset += PAGE) {
      rows = await data(files.list(parent, { limit: PAGE, offset }));
      for (const { id, name } of rows) {
        if (id) names.push(parent + name);
        else if (parent.length + name.length < LONGEST) waiting.push(`${parent}${name}/`);
      }
    }
  }
  return names.slice(0, most);
}

async function statesIn(bucket, folder, most, current) {
  const [names, found] = [await namesIn(bucket, folder, most, current), []];
  while (names.length && current()) found.push(...(await states(bucket, names.splice(0, BATCH))).values());
  return found.map((row) => ({ bucket, ...row }));
}

function show(found) {
  const counts = Map.groupBy(found, ({ state }) => state);
  const words = Object.entries(WORDS).filter(([state]) => counts.has(state)).map(([state, word]) => `${counts.get(state).length} ${word}`);
  say("state-summary", found.length ? `${words.join(" · ")}${found.length >= MOST ? ` (of the first ${MOST})` : ""}` : "You see no files here.");
  const unsettled = found.filter(({ state }) => state !== "searchable" && state !== "ignored");
  byId("state-list").replaceChildren(...unsettled.slice(0, 100).map(line));
}

function line({ state, reason, ...object }) {
  const item = fromTemplate("state-template");
  fill(item, { ".name": nameOf(object), ".outcome": [WORDS[state] ?? state, reason].filter(Boolean).join(": ") });
  const button = item.querySelector("button");
  button.hidden = state === "pending";
  button.ariaLabel = `Retry: ${nameOf(object)}`;
  button.addEventListener("click", () => retry(item, button, object));
  return item;
}

async function retry(item, button, object) {
  button.disabled = true;
  try {
    await storeAgain(object);
    fill(item, { ".outcome": "waiting: stored again" });
    button.hidden = true;
  } catch (error) {
    fill(item, { ".outcome": `Not retried: ${error.message}` });
    button.disabled = false;
  }
}
