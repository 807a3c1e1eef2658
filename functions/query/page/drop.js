// Images that are dropped or pasted anywhere on the page.

import { byId } from "./dom.js";
import { imageFiles } from "./images.js";

const overlay = byId("dropping");
let depth = 0; // dragenter and dragleave fire for every element on the way

/** `onSearch(files)` and `onUpload(files)` by the zone that was hit; `onNothing()` where no file is an image. */
export function start({ onSearch, onUpload, onNothing }) {
  const take = (files, act) => (files.length ? act(files) : onNothing());
  window.addEventListener("dragenter", (event) => carriesFiles(event) && show(1));
  window.addEventListener("dragleave", (event) => carriesFiles(event) && show(-1));
  window.addEventListener("dragover", (event) => carriesFiles(event) && hover(event));
  window.addEventListener("drop", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    const act = zoneOf(event)?.dataset.drop === "upload" ? onUpload : onSearch;
    hide();
    take(imageFiles(event.dataTransfer.files), act);
  });
  window.addEventListener("paste", (event) => {
    const files = imageFiles(event.clipboardData?.files);
    if (files.length) onSearch(files); // text goes where the cursor is
  });
}

const carriesFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");

const zoneOf = (event) => event.target.closest?.("[data-drop]");

function show(step) {
  depth += step;
  if (depth <= 0) hide();
  else overlay.hidden = false;
}

function hover(event) {
  event.preventDefault(); // or the browser opens the file instead
  const zone = zoneOf(event);
  for (const other of overlay.children) other.classList.toggle("over", other === zone);
}

function hide() {
  depth = 0;
  overlay.hidden = true;
}
