// The two requests that the page makes of the query function, relative to where it was loaded from.

import * as filters from "./filters.js";
import { base64Of } from "./images.js";
import { Problem, problemFrom } from "./problems.js";
import { wordsOf } from "./query.js";
import { authorization } from "./session.js";

const VARIED = 0.4; // enough to show other sides of what is asked for, and still that

const address = (path) => new URL(path, import.meta.url);

/** One page of results: `{model, results, next_cursor, notice}`. Throws Problem, or AbortError where `signal` fired. */
export async function search(query, { signal, ...page }) {
  const body = { ...(await asked(query)), ...page };
  const headers = { "Content-Type": "application/json", ...(await authorization()) };
  const request = { method: "POST", headers, body: JSON.stringify(body), signal };
  const response = await fetch(address("query"), request).catch(unreachable);
  const text = await response.text().catch(unreachable);
  return answer(response.status, text, response.headers.get("Retry-After"));
}

async function asked({ text, like, unlike, image, varied, weights, filter }) {
  const [body, words, narrow] = [{}, wordsOf(text), filters.asked(filter)];
  const weighed = (name) => (weights[name] ? { name, weight: weights[name] } : name);
  const less = [...unlike.map(weighed), ...words.unlike.map((word) => ({ text: word }))];
  if (words.like) body.text = words.like;
  if (image) body.image = await base64Of(image.key);
  if (like.length) body.like = like.map(weighed);
  if (less.length) body.unlike = less;
  if (varied) body.diversity = VARIED;
  if (Object.keys(narrow).length) body.filter = narrow;
  return body;
}

function unreachable(error) {
  if (error.name === "AbortError") throw error;
  throw new Problem({ type: "network" });
}

/** Uploads `file` and waits until it is searchable: `{state, reason, …}`. fetch reports no progress, so XMLHttpRequest. */
export async function upload({ file, bucket, name, replace }, onProgress) {
  const headers = await authorization();
  const form = new FormData();
  form.append("bucket", bucket);
  form.append("name", name);
  if (replace) form.append("upsert", "true");
  form.append("image", file, name.slice(name.lastIndexOf("/") + 1));
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.upload.onprogress = (event) => event.lengthComputable && onProgress(event.loaded / event.total);
    request.onerror = () => reject(new Problem({ type: "network" }));
    request.onload = () => {
      const after = request.getResponseHeader("Retry-After");
      try { resolve(answer(request.status, request.responseText, after)); } catch (error) { reject(error); }
    };
    request.open("POST", address("embeddings?wait=1"));
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.send(form);
  });
}

function answer(status, body, retryAfter) {
  if (status < 200 || status > 299) throw problemFrom(status, body, retryAfter);
  try {
    return JSON.parse(body);
  } catch {
    throw new Problem({ type: "internal", detail: "The server's answer isn't JSON.", status });
  }
}
