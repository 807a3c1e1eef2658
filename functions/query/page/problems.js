// What each problem type of the API means to the visitor of the page, and what can be done about it.

const RETRY = "Try again";
export const REMOVE_IMAGE = "Remove the image";

const image = (title, remedy) => ({ title, remedy, act: REMOVE_IMAGE });
const operator = (title, remedy) => ({ title, remedy, act: RETRY });
const later = (title) => ({ title, remedy: "This usually passes. Try again in a moment.", act: RETRY });

const FORMATS = "Use a JPEG, PNG, WebP, GIF, TIFF, BMP, ICO, AVIF or HEIC image.";
const LOG = "Whoever runs this page finds the cause in the function's log.";

const WORDS = {
  "network": { title: "The search can't be reached", remedy: "Check your connection, then try again.", act: RETRY },
  "internal": operator("Something went wrong on the server", LOG),
  "settings-error": operator("The server isn't set up completely", LOG),
  "request-error": operator("The server didn't understand this request", "Reload the page and try again."),
  "invalid-payload": operator("The server didn't understand this request", "Reload the page and try again."),
  "invalid-query": { title: "This search can't be answered", remedy: "Change the words or the images, then search again." },
  "invalid-limit": { title: "There are no more results", remedy: "Change the words or the images to find others." },
  "invalid-filter": { title: "This search can't be narrowed like that", remedy: "Change what it is narrowed to, then search again." },
  "invalid-cursor": operator("The rest of these results isn't there any more", "Another model answers now. Search again."),
  "invalid-words": operator("This search can't be answered", "Reload the page and try again."),
  "unauthorized": operator("This page isn't allowed to do this", "You were signed out, or the function's publishable key isn't valid any more."),
  "payload-too-large": image("That is too much to send at once", "Use a smaller image."),
  "unknown-path": operator("The search wasn't found at this address", "Open the page at the query function's own address."),
  "method-not-allowed": operator("The search wasn't found at this address", "Open the page at the query function's own address."),
  "image-error": image("This image can't be used", FORMATS),
  "empty-image": image("This file is empty", "Save or export the image again."),
  "not-an-image": image("This file isn't an image that can be read", FORMATS),
  "broken-image": image("This image is cut off or damaged", "Save or export it again."),
  "incomplete-image": image("Most of this image is missing from its file", "Save or export it again."),
  "unsupported-image": image("This kind of image can't be read", "Save it as a JPEG or PNG."),
  "image-too-long": image("This image is too long, or too long for its width", "Use a part of it."),
  "too-many-scans": image("This JPEG takes too long to read", "Save it anew as a plain JPEG."),
  "image-too-large": image("This image's file is too large", "Use a smaller one."),
  "too-many-pixels": image("This image has too many pixels", "Use a smaller one."),
  "decoding-timed-out": image("This image takes too long to read", "Use a smaller or simpler one."),
  "decoder-crashed": image("This image can't be read", "Save or export it again."),
  "decoding-out-of-memory": image("This image is too large to read", "Use a smaller one."),
  "decoder-stalled": later("Reading this image took too long"),
  "client-closed-request": operator("The connection was interrupted", "Check your connection."),
  "decoder-unavailable": later("The server has no room to read images right now"),
  "storage-error": later("The image storage gave an unexpected answer"),
  "object-not-found": { title: "One of these images is no longer there", remedy: "Remove it from the search, or check that visitors may see it." },
  "storage-forbidden": { title: "Visitors may not do this here", remedy: "The bucket's policies decide who may add and see images." },
  "object-exists": { title: "This name is taken", remedy: "Keep both under different names, or replace it." },
  "storage-refused": { title: "The image storage doesn't accept this file", remedy: "Rename it, or ask whoever runs this page which files the bucket takes." },
  "stale-object": later("This image is just being replaced"),
  "object-blocked": operator("Something before the image storage refuses this image", LOG),
  "storage-unavailable": later("The image storage can't be reached"),
  "database-error": operator("The database refused this search", LOG),
  "database-forbidden": operator("Visitors may not search here", "The database doesn't let this page's key search. Whoever runs it can change that."),
  "database-unavailable": later("The database can't be reached"),
  "model-error": operator("The search model failed", LOG),
  "unknown-model": operator("The search model isn't known to the server", LOG),
  "model-not-loaded": operator("The search model isn't loaded", "The server must be restarted with the collection's model."),
  "model-broken": operator("The search model can't be loaded", LOG),
  "model-unresponsive": later("The search model doesn't answer right now"),
  "text-unsupported": { title: "This collection is searched by image only", remedy: "Its model doesn't understand words. Start from an image instead." },
  "busy": later("The server is busy"),
  "stack-error": operator("The server isn't running properly", LOG),
  "collection-error": operator("The server can't evaluate this collection", LOG),
};

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
