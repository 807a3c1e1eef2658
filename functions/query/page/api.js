// The page's two requests to the query function, relative to the page's own address.

import * as filters from "./filters.js";
import { base64Of } from "./images.js";
import { Problem, problemFrom } from "./problems.js";
import { wordsOf } from "./query.js";
import { authorization } from "./session.js";

const VARIED = 0.4; // other sides of the query, without leaving it

const address = (path) => new URL(path, import.meta.url);

/** One page of results: `{model, results, next_cursor, notice}`. Throws Problem, or AbortError where `signal` fired. */
export async function search(query, { signal, ...page }) {
  const body = JSON.stringify({ ...(await asked(query)), ...page });
  const headers = { "Content-Type": "application/json", ...(await authorization()) };
  const response = await fetch(address("query"), { method: "POST", headers, body, signal }).catch(unreachable);
  return answer(response.status, await response.text().catch(unreachable), response.headers.get("Retry-After"));
}

/** Fields that are undefined aren't sent. */
async function asked({ text, like, unlike, image, varied, weights, filter }) {
  const words = wordsOf(text);
  const weighed = (name) => (weights[name] ? { name, weight: weights[name] } : name);
  return {
    text: words.like || undefined,
    image: image ? await base64Of(image.key) : undefined,
    like: some(like.map(weighed)),
    unlike: some([...unlike.map(weighed), ...words.unlike.map((word) => ({ text: word }))]),
    diversity: varied ? VARIED : undefined,
    filter: filters.asked(filter),
  };
}

const some = (examples) => (examples.length ? examples : undefined);

function unreachable(error) {
  throw error.name === "AbortError" ? error : new Problem({ type: "network" });
}

/** Uploads `file` and waits until it is searchable: `{state, reason, …}`. fetch reports no progress, so XMLHttpRequest. */
export async function upload({ file, bucket, name, replace }, onProgress) {
  const headers = await authorization();
  const form = new FormData();
  form.append("bucket", bucket);
  form.append("name", name);
  if (replace) form.append("upsert", "true");
  form.append("image", file, name.slice(name.lastIndexOf("/") + 1));
  const request = new XMLHttpRequest();
  request.upload.onprogress = (event) => event.lengthComputable && onProgress(event.loaded / event.total);
  request.open("POST", address("embeddings?wait=1"));
  for (const [header, value] of Object.entries(headers)) request.setRequestHeader(header, value);
  await new Promise((resolve, reject) => {
    request.onload = resolve;
    request.onerror = () => reject(new Problem({ type: "network" }));
    request.send(form);
  });
  return answer(request.status, request.responseText, request.getResponseHeader("Retry-After"));
}

function answer(status, body, retryAfter) {
  if (status < 200 || status > 299) throw problemFrom(status, body, retryAfter);
  try {
    return JSON.parse(body);
  } catch {
    throw new Problem({ type: "internal", detail: "The server's answer isn't JSON.", status });
  }
}
