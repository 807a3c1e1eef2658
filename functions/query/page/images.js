// The images that the visitor searches with: made smaller before they are sent, kept in this tab alone.

const KEPT = 12; // so that "back" finds the last few again
const LONGEST_SIDE = 1024; // more than any model looks at
const STORED = "image-"; // in the tab's storage, so that a reload keeps the search
const images = new Map();
let lastKey = Math.floor(performance.timeOrigin); // history outlives a reload, these images don't: never reuse a key

/** Keeps `file` for searching and returns what a query needs to name it. */
export function remember(file) {
  const key = ++lastKey;
  images.set(key, { blob: file, base64: null });
  if (images.size > KEPT) images.delete(images.keys().next().value);
  base64Of(key).then((text) => store(key, text));
  return { key, name: file.name || "pasted image" };
}

export const isKept = (key) => images.has(key) || restore(key);

export const blobOf = (key) => (isKept(key) ? images.get(key).blob : null);

/** The oldest make room; what is too large for the tab's storage isn't kept over a reload. */
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
  const text = sessionStorage.getItem(STORED + key);
  if (text) images.set(key, { blob: new Blob([Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0))]), base64: Promise.resolve(text) });
  return Boolean(text);
}

/** `part` ({x, y, w, h}, of 1) of the image in `blob`, as a file. */
export async function cutOut(blob, part) {
  const bitmap = await createImageBitmap(blob);
  const { width, height } = bitmap;
  const inside = [part.x * width, part.y * height, Math.max(1, part.w * width), Math.max(1, part.h * height)].map(Math.round);
  const piece = await createImageBitmap(bitmap, ...inside);
  bitmap.close();
  return new File([await redraw(piece, Math.min(1, LONGEST_SIDE / Math.max(piece.width, piece.height)))], "part of an image", { type: "image/jpeg" });
}

/** The image as base64, at most LONGEST_SIDE pixels wide and high; prepared once. */
export function base64Of(key) {
  const image = images.get(key);
  image.base64 ??= smaller(image.blob).then(toBase64);
  return image.base64;
}

/** `blob` itself where it is small, or where this browser can't read it: the server may. */
async function smaller(blob) {
  const bitmap = await createImageBitmap(blob).catch(() => null);
  if (!bitmap) return blob;
  const scale = LONGEST_SIDE / Math.max(bitmap.width, bitmap.height);
  const result = scale < 1 ? await redraw(bitmap, scale) : blob;
  bitmap.close();
  return result;
}

function redraw(bitmap, scale) {
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const context = canvas.getContext("2d");
  context.fillStyle = "white"; // JPEG has no alpha, and the server lays transparent images on white, too
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
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
  const url = URL.createObjectURL(blob);
  const release = () => URL.revokeObjectURL(url);
  img.addEventListener("load", release, { once: true });
  img.addEventListener("error", () => { release(); img.remove(); }, { once: true });
  img.src = url;
}

/** The image files among what was dropped, pasted or picked. Some systems know no type for HEIC: those pass. */
export function imageFiles(list) {
  return [...(list ?? [])].filter((file) => !file.type || file.type.startsWith("image/"));
}
