// A part of an image to search with: a rectangle over it, by pointer or by keys.

import { byId, onClick } from "./dom.js";
import { cutOut } from "./images.js";

const STEP = 0.04; // of the image's side, for each press of an arrow key
const LEAST = 0.04;
const frame = byId("crop");
let image = null;
let part = null; // {x, y, w, h}, of 1
let done = () => {};

export const isActive = () => !frame.hidden;

/** Shows the rectangle over `img`; `onCut(file)` with what was cut out. */
export function begin(img, onCut) {
  [image, done] = [img, onCut];
  frame.hidden = false;
  place({ x: 0.25, y: 0.25, w: 0.5, h: 0.5 });
  byId("crop-box").focus();
}

export function end() {
  frame.hidden = true;
}

frame.addEventListener("pointerdown", draw);
byId("crop-box").addEventListener("keydown", move);
onClick({ "crop-search": cut, "crop-cancel": end });
window.addEventListener("resize", () => isActive() && place(part));

/** Where the picture itself lies within its element, which leaves room beside it. */
function area() {
  const box = image.getBoundingClientRect();
  const scale = Math.min(box.width / image.naturalWidth, box.height / image.naturalHeight);
  const [width, height] = [image.naturalWidth * scale, image.naturalHeight * scale];
  return { left: box.left + (box.width - width) / 2, top: box.top + (box.height - height) / 2, width, height };
}

function place(next) {
  const [w, h] = [clamp(next.w, LEAST, 1), clamp(next.h, LEAST, 1)];
  part = { x: clamp(next.x, 0, 1 - w), y: clamp(next.y, 0, 1 - h), w, h };
  const [{ left, top, width, height }, outer] = [area(), frame.getBoundingClientRect()];
  const sides = { left: left - outer.left + part.x * width, top: top - outer.top + part.y * height, width: w * width, height: h * height };
  for (const [side, pixels] of Object.entries(sides)) byId("crop-box").style[side] = `${pixels}px`;
}

function draw(event) {
  if (event.target.closest(".crop-acts")) return;
  event.preventDefault();
  frame.setPointerCapture(event.pointerId);
  const { left, top, width, height } = area();
  const at = ({ clientX, clientY }) => [clamp((clientX - left) / width, 0, 1), clamp((clientY - top) / height, 0, 1)];
  const [x0, y0] = at(event);
  const stretch = (now) => {
    const [x, y] = at(now);
    place({ x: Math.min(x, x0), y: Math.min(y, y0), w: Math.abs(x - x0), h: Math.abs(y - y0) });
  };
  frame.addEventListener("pointermove", stretch);
  const stop = () => frame.removeEventListener("pointermove", stretch);
  frame.addEventListener("pointerup", stop, { once: true });
  frame.addEventListener("pointercancel", stop, { once: true });
}

const clamp = (value, least, most) => Math.min(most, Math.max(least, value));

/** Arrows move the rectangle, with Shift its far corner. */
function move(event) {
  const [dx, dy] = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] }[event.key] ?? [0, 0];
  if (event.key === "Enter") cut();
  if (!dx && !dy) return;
  event.preventDefault();
  event.stopPropagation();
  place(event.shiftKey ? { ...part, w: part.w + dx, h: part.h + dy } : { ...part, x: part.x + dx, y: part.y + dy });
}

async function cut() {
  byId("crop-search").disabled = true;
  try {
    const response = await fetch(image.src);
    done(await cutOut(await response.blob(), part));
    end();
  } catch {
    byId("crop-hint").textContent = "This image can't be cut here. Open the original instead.";
  }
  byId("crop-search").disabled = false;
}
