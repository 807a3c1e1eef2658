// What narrows a search: the form above the results, as plain text fields that the address keeps.

import { byId, disclosure } from "./dom.js";
import { filesIn } from "./objects.js";
import { data, project } from "./project.js";
import { FILTERS } from "./query.js";

const form = byId("filters");
let seen = new Set(); // buckets of results: not everybody may list them
const [MB, DAY] = [1e6, 864e5];
const open = disclosure(byId("open-filters"), form, offerBuckets);

/** `onChange(filter)` when the visitor narrows the search otherwise. */
export function start(onChange) {
  const changed = () => form.reportValidity() && onChange(read());
  form.addEventListener("change", changed);
  form.addEventListener("submit", (event) => { event.preventDefault(); changed(); });
  form.addEventListener("reset", () => setTimeout(changed));
  form.elements.folder.addEventListener("focus", offerFolders);
}

export function show(filter) {
  for (const name of FILTERS) form.elements[name].value = filter[name] ?? "";
  const count = Object.keys(filter).length;
  byId("open-filters").textContent = count ? `Filters (${count})` : "Filters";
  if (count && form.hidden) open(true);
}

export function noteBuckets(results) {
  for (const { bucket } of results) seen.add(bucket);
  if (!form.hidden) offer("buckets", seen);
}

/** Another visitor sees other buckets and folders. */
export function forget() {
  seen = new Set();
  offer("folders", []);
  offerBuckets();
}

/** `filter` as the API takes it; undefined for none. */
export function asked({ bucket, folder, type, from, to, min, max, meta }) {
  const filter = { bucket, mime_type: type, uploaded_after: from, min_bytes: bytes(min), max_bytes: bytes(max) };
  if (folder) filter.prefix = `${folder}/`;
  if (to) filter.uploaded_before = new Date(Date.parse(to) + DAY).toISOString().slice(0, 10); // that day included
  if (meta) filter.metadata = Object.fromEntries([pair(meta)]);
  return Object.values(filter).some((value) => value !== undefined) ? filter : undefined;
}

function read() {
  const fields = FILTERS.map((name) => [name, form.elements[name].value.trim()]);
  return Object.fromEntries(fields.filter(([, value]) => value));
}

const bytes = (text) => (text ? Math.round(Number(text) * MB) : undefined);

/** `colour=red`: the value as JSON where it is some, such as a number, else as text. */
function pair(text) {
  const [key, value] = text.split(/=(.*)/s).map((part) => part.trim());
  try {
    return [key, JSON.parse(value)];
  } catch {
    return [key, value ?? ""];
  }
}

async function offerBuckets() {
  const [own, asking] = [seen, form.hidden ? [] : buckets()];
  offer("buckets", seen);
  const found = await asking;
  if (own === seen) offer("buckets", found);
}

/** The buckets that the visitor may list, and those that results came from. */
export async function buckets() {
  const found = await listed(async () => (await project()).storage.listBuckets());
  return [...new Set([...seen, ...found.map(({ id }) => id)])];
}

async function offerFolders() {
  const own = seen;
  const bucket = form.elements.bucket.value || [...seen][0];
  const entries = bucket ? await listed(async () => (await filesIn(bucket)).list("", { limit: 1000 })) : [];
  if (own === seen) offer("folders", entries.filter(({ id }) => !id).map(({ name }) => name));
}

/** Only suggestions: where the visitor may list nothing, they type. */
const listed = (ask) => data(ask()).catch(() => []);

function offer(list, values) {
  byId(list).replaceChildren(...[...values].sort().map((value) => new Option(value, value)));
}
