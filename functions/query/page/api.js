// The two requests that the page makes, relative to where it was loaded from.

import { base64Of } from "./images.js";
import { Problem, problemFrom } from "./problems.js";

const VARIED = 0.4; // enough to show other sides of what is asked for, and still that

const address = (path) => new URL(path, import.meta.url);

/** One page of results: `{model, results, next_cursor, notice}`. Throws Problem, or AbortError where `signal` fired. */
export async function search(query, { signal, ...page }) {
  const body = { ...(await asked(query)), ...page };
  const request = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), signal };
  const response = await fetch(address("query"), request).catch(unreachable);
  const text = await response.text().catch(unreachable);
  return answer(response.status, text);
}

async function asked({ text, like, unlike, image, varied }) {
  const body = {};
  if (text) body.text = text;
  if (image) body.image = await base64Of(image.key);
  if (like.length) body.like = like;
  if (unlike.length) body.unlike = unlike;
  if (varied) body.diversity = VARIED;
  return body;
}

function unreachable(error) {
  if (error.name === "AbortError") throw error;
  throw new Problem({ type: "network" });
}

/** Uploads `file` and waits until it is searchable: `{state, reason, …}`. fetch reports no progress, so XMLHttpRequest. */
export function upload({ file, bucket, name, replace }, onProgress) {
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
      try { resolve(answer(request.status, request.responseText)); } catch (error) { reject(error); }
    };
    request.open("POST", address("embeddings?wait=1"));
    request.send(form);
  });
}

function answer(status, body) {
  if (status < 200 || status > 299) throw problemFrom(status, body);
  try {
    return JSON.parse(body);
  } catch {
    throw new Problem({ type: "internal", detail: "The server's answer isn't JSON.", status });
  }
}
