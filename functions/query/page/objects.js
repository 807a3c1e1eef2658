// Stored images, as the visitor: links, facts, downloads, deletion.

import { element } from "./dom.js";
import { data, project } from "./project.js";

const LINK_SECONDS = 3600;
const facts = new Map();

export const nameOf = ({ bucket, name }) => `${bucket}/${name}`;

export const objectOf = (text) => ({ bucket: text.split("/", 1)[0], name: text.slice(text.indexOf("/") + 1) });

const LEADS_AWAY = /^\.{1,2}$|[\\/%\p{Cc}]/u; // what no bucket has, and what browsers and servers resolve to another path

/** Storage's files of `bucket`, which a link may name: supabase-js puts it into the path of requests as the visitor. */
export async function filesIn(bucket) {
  if (LEADS_AWAY.test(bucket)) throw new Error("There is no such bucket.");
  return (await project()).storage.from(encodeURIComponent(bucket));
}

/** Browsers resolve such a path to another one, and would ask for that as the visitor: its uploader chose it. */
const climbs = ({ name }) => name.split(/[\\/?#]/).some((part) => /^(\.|%2e){1,2}$/i.test(part));

const filesWith = async (object) => {
  if (climbs(object)) throw new Error("Its name has . or .. for a folder. Move it to another name.");
  return filesIn(object.bucket);
};

/** Storage's answers for each bucket's names together, as [bucket, row]. */
async function forEachBucket(objects, ask) {
  const answers = [];
  for (const [bucket, some] of Map.groupBy(objects, (object) => object.bucket)) {
    const rows = await data(ask(await filesIn(bucket), some.map(({ name }) => name)));
    answers.push(...rows.map((row) => [bucket, row]));
  }
  return answers;
}

/** An address for each of `objects` that works for an hour, by bucket/name; those that Storage doesn't sign are left out. */
export async function links(objects) {
  const rows = await forEachBucket(objects, (files, names) => files.createSignedUrls(names, LINK_SECONDS));
  return new Map(rows.filter(([, { signedUrl }]) => signedUrl).map(([bucket, { path, signedUrl }]) => [`${bucket}/${path}`, signedUrl]));
}

/** Deletes as the visitor; the set of bucket/name that Storage did delete. */
export async function remove(objects) {
  const rows = await forEachBucket(objects, (files, names) => files.remove(names));
  return new Set(rows.map(([bucket, { name }]) => `${bucket}/${name}`));
}

/** Size, type and dates: Storage's own words about one object; {} where the visitor can't ask. */
export function about(object) {
  const key = nameOf(object);
  if (!facts.has(key)) facts.set(key, ask(object).catch(() => ({})));
  return facts.get(key);
}

/** Another visitor may ask otherwise. */
export const forget = () => facts.clear();

const ask = async (object) => data((await filesWith(object)).info(object.name));

/** Hands the files to the browser's downloads, one after the other; the names of those that couldn't be had. */
export async function download(objects) {
  const failed = [];
  for (const object of objects) {
    const { data: blob } = climbs(object) ? {} : await (await filesIn(object.bucket)).download(object.name);
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

/** Stores the same bytes again, as the visitor: a new version, which is embedded anew. */
export async function storeAgain(object) {
  const files = await filesWith(object);
  const { name } = object;
  const [blob, { metadata }] = await Promise.all([data(files.download(name)), data(files.info(name))]);
  await data(files.update(name, blob, { contentType: blob.type, metadata }));
}
