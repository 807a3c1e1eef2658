// The query as the address shows it: plain data, no DOM.

export const FILTERS = ["bucket", "folder", "type", "from", "to", "min", "max", "meta"];
export const KINDS = ["like", "unlike"];
const NEGATIVE = /(?:^|\s)-(?:"([^"]+)"|([^\s"]+))/g; // -snow, or -"deep snow"

/** `varied`: results should differ. `weights`: of examples, by name, where it isn't 1. `filter`: see filters.js. */
export const empty = () => ({ text: "", like: [], unlike: [], image: null, varied: false, weights: {}, filter: {} });

export function isEmpty(query) {
  return !query.text && !query.image && KINDS.every((kind) => query[kind].length === 0);
}

/** The query in `location.search`. An image's bytes don't fit there: `entry` (the history's state) holds its key. */
export function parse(search, entry) {
  const fields = new URLSearchParams(search);
  const imageName = fields.get("image");
  fields.set("folder", (fields.get("folder") ?? "").replace(/^\/+|\/+$/g, ""));
  return {
    text: (fields.get("q") ?? "").trim(),
    like: unique(fields.getAll("like")),
    unlike: unique(fields.getAll("unlike")),
    image: imageName === null ? null : { key: entry?.image ?? null, name: imageName },
    varied: fields.has("varied"),
    weights: Object.fromEntries(fields.getAll("weight").map(weightOf).filter(([weight]) => weight > 0).map((pair) => pair.toReversed())),
    filter: Object.fromEntries(FILTERS.filter((name) => fields.get(name)).map((name) => [name, fields.get(name)])),
  };
}

/** `query` as `location.search`; "?" for the empty one, so that the address always changes. */
export function format(query) {
  const fields = new URLSearchParams();
  if (query.text) fields.append("q", query.text);
  for (const kind of KINDS) query[kind].forEach((name) => fields.append(kind, name));
  if (query.image) fields.append("image", query.image.name);
  if (query.varied) fields.append("varied", "1");
  for (const [name, weight] of Object.entries(query.weights)) fields.append("weight", `${weight},${name}`);
  for (const [name, value] of Object.entries(query.filter)) fields.append(name, value);
  return `?${fields}`;
}

/** `2,images/a.jpg` as [2, "images/a.jpg"]. */
function weightOf(text) {
  const comma = text.indexOf(",");
  return [Number(text.slice(0, comma)), text.slice(comma + 1)];
}

/** The words to look for, and those behind a minus, of which there should be less. */
export function wordsOf(text) {
  const unlike = [...text.matchAll(NEGATIVE)].map(([, quoted, word]) => quoted ?? word);
  return { like: text.replace(NEGATIVE, " ").trim(), unlike };
}

/** `query` with one more example; an image is either liked or not. */
export function withExample(query, kind, name) {
  const rest = withoutExample(query, name);
  return { ...rest, [kind]: [...rest[kind], name] };
}

export function withoutExample(query, name) {
  const others = (names) => names.filter((other) => other !== name);
  const weights = Object.fromEntries(Object.entries(query.weights).filter(([other]) => other !== name));
  return { ...query, weights, like: others(query.like), unlike: others(query.unlike) };
}

/** All that results should be like. */
export const liked = ({ text, image, like }) => [wordsOf(text).like, image, ...like].filter(Boolean);

/** What the query calls the example that a result is closest to; null where there is no choice. */
export function nameOfClosest(query, closest) {
  if (!closest || liked(query).length < 2) return null;
  if (closest.field === "text") return `“${wordsOf(query.text).like}”`;
  return baseName(closest.field === "image" ? query.image.name : query.like[closest.index]);
}

/** A few words for the title of the page. */
export function describe(query) {
  if (query.text) return query.text;
  if (query.image) return `Images like ${query.image.name}`;
  if (query.like.length) return `Images like ${baseName(query.like[0])}`;
  return query.unlike.length ? `Images unlike ${baseName(query.unlike[0])}` : "";
}

export const baseName = (name) => name.slice(name.lastIndexOf("/") + 1);

const unique = (names) => [...new Set(names.filter(Boolean))];
