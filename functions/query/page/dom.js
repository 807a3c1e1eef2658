// What every part of the page makes and finds elements with.

export const byId = (id) => document.getElementById(id);

/** A fresh copy of the one element in the template `id`: of this document, so that its image loads before it is shown. */
export const fromTemplate = (id) => document.importNode(byId(id).content.firstElementChild, true);

/** A new element with these properties. */
export const element = (tag, properties) => Object.assign(document.createElement(tag), properties);

/** Texts of parts of `item`, by selector. */
export function fill(item, texts) {
  for (const [selector, text] of Object.entries(texts)) item.querySelector(selector).textContent = text;
}

export function onClick(handlers) {
  for (const [id, act] of Object.entries(handlers)) byId(id).addEventListener("click", act);
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
