// A part of an image to search with: a rectangle over it, by pointer or by keys.

import { byId, on, say } from "./dom.js";
import { cutOut } from "./images.js";
import { baseName } from "./query.js";

const STEP = 0.04; // of the image's side, for each press of an arrow key; the least side, too
const ARROWS = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] };
const frame = byId("crop");
const box = byId("crop-box");
let image = null;
let part = null; // {x, y, w, h}, of 1
let done = () => {};

export const isActive = () => !frame.hidden;

/** Shows the rectangle over `img`; `onCut(file)` with its content. */
export function begin(img, onCut) {
  [image, done] = [img, onCut];
  frame.hidden = false;
  place({ x: 0.25, y: 0.25, w: 0.5, h: 0.5 });
  box.focus();
}

export function end() {
  frame.hidden = true;
}

frame.addEventListener("pointerdown", draw);
box.addEventListener("keydown", move);
on("click", { "crop-search": cut, "crop-cancel": end });
window.addEventListener("resize", () => isActive() && place(part));

/** The picture itself within its element, which leaves room beside it. */
function area() {
  const outer = image.getBoundingClientRect();
  const scale = Math.min(outer.width / image.naturalWidth, outer.height / image.naturalHeight);
  const [width, height] = [image.naturalWidth * scale, image.naturalHeight * scale];
  return { left: outer.left + (outer.width - width) / 2, top: outer.top + (outer.height - height) / 2, width, height };
}

function place({ x, y, w, h }) {
  [w, h] = [clamp(w, STEP, 1), clamp(h, STEP, 1)];
  part = { x: clamp(x, 0, 1 - w), y: clamp(y, 0, 1 - h), w, h };
  const [{ left, top, width, height }, outer] = [area(), frame.getBoundingClientRect()];
  const sides = { left: left - outer.left + part.x * width, top: top - outer.top + part.y * height, width: w * width, height: h * height };
  for (const [side, pixels] of Object.entries(sides)) box.style[side] = `${pixels}px`;
}

function draw(event) {
  if (event.target.closest(".crop-acts")) return;
  event.preventDefault();
  frame.setPointerCapture(event.pointerId);
  const { left, top, width, height } = area();
  const at = ({ clientX, clientY }) => [clamp((clientX - left) / width, 0, 1), clamp((clientY - top) / height, 0, 1)];
  const [x0, y0] = at(event);
  frame.onpointermove = (now) => {
    const [x, y] = at(now);
    place({ x: Math.min(x, x0), y: Math.min(y, y0), w: Math.abs(x - x0), h: Math.abs(y - y0) });
  };
  frame.onlostpointercapture = () => { frame.onpointermove = null; };
}

const clamp = (value, least, most) => Math.min(most, Math.max(least, value));

/** Arrows move the rectangle, with Shift its far corner. */
function move(event) {
  if (event.key === "Enter") cut();
  if (!ARROWS[event.key]) return;
  const [dx, dy] = ARROWS[event.key];
  event.preventDefault();
  event.stopPropagation();
  place(event.shiftKey ? { ...part, w: part.w + dx, h: part.h + dy } : { ...part, x: part.x + dx, y: part.y + dy });
}

async function cut() {
  if (byId("crop-search").disabled) return; // Enter pressed twice
  byId("crop-search").disabled = true;
  try {
    const response = await fetch(image.src);
    done(await cutOut(await response.blob(), part, `part of ${baseName(image.alt)}`));
    end();
  } catch {
    say("crop-hint", "This image can't be cut here. Open the original instead.");
  }
  byId("crop-search").disabled = false;
}
