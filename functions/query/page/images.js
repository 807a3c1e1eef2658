// The images that the visitor searches with: made smaller before they are sent, kept in this tab alone.

const KEPT = 12; // so that "back" finds the last few again
const LONGEST_SIDE = 1024; // more than any model looks at
const STORED = "image-"; // in the tab's storage, so that a reload keeps the search
const images = new Map();
let lastKey = Math.floor(performance.timeOrigin); // history outlives a reload, these images don't: never reuse a key

/** Keeps `file` for searching and returns what a query needs to name it. */
export function remember(file) {
  const key = ++lastKey;
  images.set(key, { blob: file });
  if (images.size > KEPT) images.delete(images.keys().next().value);
  base64Of(key).then((text) => store(key, text));
  return { key, name: file.name || "pasted image" };
}

export const isKept = (key) => images.has(key) || restore(key);

export const blobOf = (key) => (isKept(key) ? images.get(key).blob : null);

/** The oldest make room; an image that is too large for the tab's storage isn't kept over a reload. */
function store(key, text) {
  const stored = Object.keys(sessionStorage).filter((name) => name.startsWith(STORED)).sort();
  while (true) {
    try {
      return sessionStorage.setItem(STORED + key, text);
    } catch {
      if (!stored.length) return;
      sessionStorage.removeItem(stored.shift());
    }
  }
}

function restore(key) {
  const base64 = sessionStorage.getItem(STORED + key);
  if (base64) images.set(key, { base64, blob: new Blob([Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0))]) });
  return Boolean(base64);
}

/** `part` ({x, y, w, h}, of 1) of the image in `blob`, as a file called `name`. */
export async function cutOut(blob, { x, y, w, h }, name) {
  const bitmap = await createImageBitmap(blob);
  const { width, height } = bitmap;
  const piece = await createImageBitmap(bitmap, ...[x * width, y * height, Math.max(1, w * width), Math.max(1, h * height)].map(Math.round));
  bitmap.close();
  return new File([await redraw(piece, Math.min(1, scaleOf(piece)))], name, { type: "image/jpeg" });
}

/** The image as base64, at most LONGEST_SIDE pixels wide and high; prepared once. */
export async function base64Of(key) {
  const image = images.get(key);
  return (image.base64 ??= smaller(image.blob).then(toBase64));
}

/** `blob` itself where it is small, or where this browser can't read it: the server may. */
async function smaller(blob) {
  const bitmap = await createImageBitmap(blob).catch(() => null);
  if (bitmap && scaleOf(bitmap) < 1) return redraw(bitmap, scaleOf(bitmap));
  bitmap?.close();
  return blob;
}

const scaleOf = ({ width, height }) => LONGEST_SIDE / Math.max(width, height);

function redraw(bitmap, scale) {
  const side = (length) => Math.max(1, Math.round(length * scale));
  const canvas = Object.assign(document.createElement("canvas"), { width: side(bitmap.width), height: side(bitmap.height) });
  const context = canvas.getContext("2d");
  context.fillStyle = "white"; // JPEG has no alpha, and the server lays transparent images on white, too
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.92));
}

function toBase64(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}

/** Shows `blob` in `img` and lets go of it as soon as it is drawn. */
export function showBlob(img, blob) {
  img.src = URL.createObjectURL(blob);
  img.onload = img.onerror = ({ type }) => {
    URL.revokeObjectURL(img.src);
    if (type === "error") img.remove();
  };
}

/** The image files among what was dropped, pasted or picked. Some systems know no type for HEIC: those pass. */
export const imageFiles = (list) => [...(list ?? [])].filter((file) => !file.type || file.type.startsWith("image/"));
