// Two helpers that every part of the page uses.

export const byId = (id) => document.getElementById(id);

/** A fresh copy of the one element in the template `id`. */
export const fromTemplate = (id) => byId(id).content.firstElementChild.cloneNode(true);
