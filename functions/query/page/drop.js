// Images that are dropped or pasted anywhere on the page.

import { byId } from "./dom.js";
import { imageFiles } from "./images.js";

const overlay = byId("dropping");

/** `onSearch(files)` and `onUpload(files)` by the zone that was hit; `onNothing()` where no file is an image. */
export function start({ onSearch, onUpload, onNothing }) {
  const listen = (type, act) => window.addEventListener(type, (event) => event.dataTransfer?.types.includes("Files") && act(event));
  listen("dragleave", ({ relatedTarget }) => { overlay.hidden = relatedTarget === null; }); // out of the window
  listen("dragover", hover);
  listen("drop", (event) => {
    event.preventDefault();
    overlay.hidden = true;
    const files = imageFiles(event.dataTransfer.files);
    if (!files.length) onNothing();
    else if (zoneOf(event)?.dataset.drop === "upload") onUpload(files);
    else onSearch(files);
  });
  window.addEventListener("paste", (event) => {
    const files = imageFiles(event.clipboardData?.files);
    if (files.length) onSearch(files); // text goes where the cursor is
  });
}

const zoneOf = (event) => event.target.closest?.("[data-drop]");

function hover(event) {
  event.preventDefault(); // or the browser opens the file instead
  overlay.hidden = false;
  for (const zone of overlay.children) zone.classList.toggle("over", zone === zoneOf(event));
}
