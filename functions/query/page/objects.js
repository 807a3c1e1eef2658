// What can be done with stored images, as the visitor: links, facts, downloads, deletion.

import { element } from "./dom.js";
import { data, project } from "./project.js";

export const nameOf = ({ bucket, name }) => `${bucket}/${name}`;
const LINK_SECONDS = 3600;
const facts = new Map();

/** An address for each of `objects` that works for an hour, by bucket/name; what Storage doesn't sign is left out. */
export async function links(objects) {
  const client = await project();
  const found = new Map();
  for (const [bucket, some] of Map.groupBy(objects, (object) => object.bucket)) {
    const signed = await data(client.storage.from(bucket).createSignedUrls(some.map(({ name }) => name), LINK_SECONDS));
    for (const { path, signedUrl } of signed) if (signedUrl) found.set(`${bucket}/${path}`, signedUrl);
  }
  return found;
}

/** Size, type and dates: Storage's own words about one object; {} where the visitor can't ask. */
export function about(object) {
  const key = nameOf(object);
  if (!facts.has(key)) facts.set(key, ask(object).catch(() => ({})));
  return facts.get(key);
}

const ask = async ({ bucket, name }) => data((await project()).storage.from(bucket).info(name));

/** Hands the files to the browser's downloads, one after the other; the names of those that couldn't be had. */
export async function download(objects) {
  const client = await project();
  const failed = [];
  for (const object of objects) {
    const { data: blob } = await client.storage.from(object.bucket).download(object.name);
    if (blob) save(blob, object.name.split("/").pop());
    else failed.push(nameOf(object));
  }
  return failed;
}

function save(blob, name) {
  const url = URL.createObjectURL(blob);
  element("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** Deletes as the visitor; the set of bucket/name that Storage did delete. */
export async function remove(objects) {
  const client = await project();
  const gone = new Set();
  for (const [bucket, some] of Map.groupBy(objects, (object) => object.bucket)) {
    const rows = await data(client.storage.from(bucket).remove(some.map(({ name }) => name)));
    for (const row of rows) gone.add(`${bucket}/${row.name}`);
  }
  return gone;
}

/** Stores the same bytes again, as the visitor: a new version, which is embedded anew. */
export async function storeAgain({ bucket, name }) {
  const files = (await project()).storage.from(bucket);
  const [blob, { metadata }] = await Promise.all([data(files.download(name)), data(files.info(name))]);
  await data(files.update(name, blob, { contentType: blob.type, metadata }));
}
