// The state of the index, as far as the visitor may see it.

import { byId, disclosure, fill, fromTemplate, on, say } from "./dom.js";
import { storeAgain } from "./objects.js";
import { data, project, states } from "./project.js";

const [PAGE, BATCH, MOST] = [1000, 250, 5000];
const WORDS = { searchable: "searchable", pending: "waiting", failed: "failed", skipped: "skipped", ignored: "not indexed" };
let target = () => ({});

/** `where()` tells the bucket and folder to look at. */
export function start(where) {
  target = where;
  disclosure(byId("open-state"), byId("state"), look);
  on("click", { "refresh-state": look });
}

async function look() {
  const { bucket, folder } = target();
  say("state-of", [bucket, folder].filter(Boolean).join("/"));
  say("state-summary", "Looking …");
  byId("state-list").replaceChildren();
  try {
    const names = await namesIn(bucket, folder ?? "");
    const isCut = names.length >= MOST;
    show(bucket, await statesOf(bucket, names), isCut);
  } catch (error) {
    say("state-summary", `You may not see this, or it can't be had now: ${error.message}`);
  }
}

async function namesIn(bucket, folder) {
  const files = (await project()).storage.from(bucket);
  const [names, waiting] = [[], [folder]];
  while (waiting.length && names.length < MOST) {
    const parent = waiting.shift();
    for (let offset = 0, rows; (rows = await data(files.list(parent, { limit: PAGE, offset }))).length; offset += PAGE) {
      for (const { id, name } of rows) (id ? names : waiting).push(parent ? `${parent}/${name}` : name);
      if (rows.length < PAGE) break;
    }
  }
  return names;
}

async function statesOf(bucket, names) {
  const found = [];
  while (names.length) found.push(...(await states(bucket, names.splice(0, BATCH))).values());
  return found;
}

function show(bucket, found, isCut) {
  const counts = Map.groupBy(found, ({ state }) => state);
  const words = Object.entries(WORDS).filter(([state]) => counts.has(state)).map(([state, word]) => `${counts.get(state).length} ${word}`);
  say("state-summary", found.length ? `${words.join(" · ")}${isCut ? ` (of the first ${MOST})` : ""}` : "You see no files here.");
  const unsettled = found.filter(({ state }) => state !== "searchable" && state !== "ignored");
  byId("state-list").replaceChildren(...unsettled.slice(0, 100).map((row) => line(bucket, row)));
}

function line(bucket, { name, state, reason }) {
  const item = fromTemplate("state-template");
  fill(item, { ".name": name, ".outcome": [WORDS[state] ?? state, reason].filter(Boolean).join(": ") });
  const button = item.querySelector("button");
  button.hidden = state === "pending";
  button.ariaLabel = `Retry: ${name}`;
  button.addEventListener("click", () => retry(item, button, { bucket, name }));
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
