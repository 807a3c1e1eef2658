// The API's problem types in the visitor's words, with remedies.

const RETRY = "Try again";
export const REMOVE_IMAGE = "Remove the image";

const FORMATS = "Use a JPEG, PNG, WebP, GIF, TIFF, BMP, ICO, AVIF or HEIC image.";

const WORDS = {
  ...alike(RETRY, "The page's operator finds the cause in the function's log.", {
    "internal": "Something went wrong on the server",
    "settings-error": "The server isn't set up completely",
    "object-blocked": "Something before the image storage refuses this image",
    "database-error": "The database refused this search",
    "database-outdated": "The database and the server are of different versions",
    "model-error": "The search model failed",
    "unknown-model": "The search model isn't known to the server",
    "model-broken": "The search model can't be loaded",
    "stack-error": "The server isn't running properly",
    "collection-error": "The server can't evaluate this collection",
  }),
  ...alike(RETRY, "This usually passes. Try again in a moment.", {
    "busy": "The server is busy",
    "decoder-stalled": "Reading this image took too long",
    "decoder-unavailable": "The server has no room to read images right now",
    "storage-error": "The image storage gave an unexpected answer",
    "stale-object": "This image is just being replaced",
    "storage-unavailable": "The image storage can't be reached",
    "database-unavailable": "The database can't be reached",
    "database-locked": "The database is busy",
    "model-unresponsive": "The search model doesn't answer right now",
  }),
  ...alike(RETRY, "Reload the page and try again.", {
    "request-error": "The server didn't understand this request",
    "invalid-payload": "The server didn't understand this request",
    "invalid-words": "This search can't be answered",
  }),
  ...alike(RETRY, "Open the page at the query function's own address.", {
    "unknown-path": "The search wasn't found at this address",
    "method-not-allowed": "The search wasn't found at this address",
  }),
  ...alike(RETRY, "Check your connection, then try again.", {
    "network": "The search can't be reached",
    "client-closed-request": "The connection was interrupted",
    "request-too-slow": "The connection is too slow",
  }),
  ...alike(REMOVE_IMAGE, FORMATS, {
    "image-error": "This image can't be used",
    "not-an-image": "This file isn't an image that can be read",
  }),
  ...alike(REMOVE_IMAGE, "Save or export the image again.", {
    "empty-image": "This file is empty",
    "broken-image": "This image is cut off or damaged",
    "incomplete-image": "Most of this image is missing from its file",
    "decoder-crashed": "This image can't be read",
  }),
  ...alike(REMOVE_IMAGE, "Use a smaller one.", {
    "payload-too-large": "That is too much to send at once",
    "image-too-large": "This image's file is too large",
    "too-many-pixels": "This image has too many pixels",
    "decoding-out-of-memory": "This image is too large to read",
    "decoding-timed-out": "This image takes too long to read",
  }),
  "unsupported-image": words("This kind of image can't be read", "Save it as a JPEG or PNG.", REMOVE_IMAGE),
  "image-too-long": words("This image is too long, or too long for its width", "Use a part of it.", REMOVE_IMAGE),
  "too-many-scans": words("This JPEG takes too long to read", "Save it anew as a plain JPEG.", REMOVE_IMAGE),
  "invalid-cursor": words("The rest of these results isn't there any more", "Another model answers now. Search again.", RETRY),
  "unauthorized": words("This page isn't allowed to do this", "You were signed out, or the function's publishable key isn't valid any more.", RETRY),
  "database-forbidden": words("Visitors may not search here", "The database doesn't let this page's key search. The page's operator can change that.", RETRY),
  "model-not-loaded": words("The search model isn't loaded", "The server must be restarted with the collection's model.", RETRY),
  "invalid-query": words("This search can't be answered", "Change the words or the images, then search again."),
  "invalid-limit": words("There are no more results", "Change the words or the images to find others."),
  "invalid-filter": words("This search can't be narrowed like that", "Change what it is narrowed to, then search again."),
  "object-not-found": words("One of these images is no longer there", "Remove it from the search, or check that visitors may see it."),
  "storage-forbidden": words("Visitors may not do this here", "The bucket's policies decide who may add and see images."),
  "object-exists": words("This name is taken", "Keep both under different names, or replace it."),
  "storage-refused": words("The image storage doesn't accept this file", "Rename it, or ask the page's operator which files the bucket takes."),
  "invalid-object-name": words("This name can't be used", "Rename the image: no folder may be called . or .."),
  "text-unsupported": words("This collection is searched by image only", "Its model doesn't understand words. Start from an image instead."),
};

function words(title, remedy, act) {
  return { title, remedy, act };
}

/** Words of problems that have their remedy in common. */
function alike(act, remedy, titles) {
  return Object.fromEntries(Object.entries(titles).map(([type, title]) => [type, { title, remedy, act }]));
}

/** For a file that the page itself can tell is none. */
export const NOT_AN_IMAGE = { title: "That isn't an image", remedy: FORMATS };

/** An error of the API, or of the way there. */
export class Problem extends Error {
  constructor({ type = "internal", detail = "", status = 0, retryAfter = null }) {
    super(detail || type);
    this.type = String(type).split("/").pop(); // a bare name, or the end of an address
    this.detail = detail;
    this.status = status;
    this.retryAfter = Number.parseInt(retryAfter, 10) || null; // seconds
  }

  get words() {
    return WORDS[this.type] ?? WORDS.internal;
  }
}

/** Any error as a Problem: what isn't one is a fault of this page, and says so. */
export function asProblem(error) {
  if (error instanceof Problem) return error;
  console.error(error);
  return new Problem({ type: "internal", detail: `The page failed: ${error.message}` });
}

/** The problem that the response's body describes, whatever answered: a proxy's error page is no problem details. */
export function problemFrom(status, body, retryAfter) {
  try {
    const { type, detail, title } = JSON.parse(body);
    if (typeof type === "string") return new Problem({ type, detail: detail ?? title ?? "", status, retryAfter });
  } catch {
    // not JSON: the status says the most that is known
  }
  const type = status === 413 ? "payload-too-large" : status === 429 || status === 503 ? "busy" : "internal";
  return new Problem({ type, detail: `The server answered with status ${status}.`, status, retryAfter });
}
