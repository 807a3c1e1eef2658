// Finding, filling and making elements.

export const byId = (id) => document.getElementById(id);

/** A copy of the template's one element: made by this document, so that its image loads before it is shown. */
export const fromTemplate = (id) => document.importNode(byId(id).content.firstElementChild, true);

export const element = (tag, properties) => Object.assign(document.createElement(tag), properties);

/** Sets the text of the element `id`. */
export const say = (id, text) => { byId(id).textContent = text; };

/** Sets texts of parts of `item`, by selector. */
export function fill(item, texts) {
  for (const [selector, text] of Object.entries(texts)) item.querySelector(selector).textContent = text;
}

/** Adds handlers by element id. */
export function on(type, handlers) {
  for (const [id, act] of Object.entries(handlers)) byId(id).addEventListener(type, act);
}

/** Lets `button` open and close `panel`; the function it returns does so, too. `opened()` follows each opening. */
export function disclosure(button, panel, opened = () => {}) {
  const show = (open) => {
    panel.hidden = !open;
    button.ariaExpanded = String(open);
    if (open) opened();
  };
  button.addEventListener("click", () => show(panel.hidden));
  return show;
}

/** Lets `button` pick files through the hidden `input`. */
export function picker(button, input, onFiles) {
  button.addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    onFiles([...input.files]);
    input.value = ""; // so that the same file can be picked again
  });
}
