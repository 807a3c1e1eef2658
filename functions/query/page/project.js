// The Supabase project behind the search, through supabase-js: fetched only when something needs it.

import { element } from "./dom.js";

const address = (path) => new URL(path, import.meta.url);
export const SESSION_KEY = "neural-search-session"; // where supabase-js keeps the session
const TOKEN_KEY = "neural-search-token"; // a pasted token: for this tab alone

const clients = new Map(); // by pasted token; "" for the one with a session, or nobody's

/** A supabase-js client with the visitor's rights. Throws where the page's settings or the script can't be had. */
export function project() {
  const key = pastedToken() ?? "";
  if (!clients.has(key)) clients.set(key, load().catch((error) => { clients.delete(key); throw error; }));
  return clients.get(key);
}

export const pastedToken = () => sessionStorage.getItem(TOKEN_KEY);

export function keepToken(token) {
  if (token) sessionStorage.setItem(TOKEN_KEY, token);
  else sessionStorage.removeItem(TOKEN_KEY);
  for (const key of clients.keys()) if (key) clients.delete(key);
}

/** The project's address and publishable key. */
export const settings = () => fetch(address("config.json")).then(asJson);

async function load() {
  const [{ supabase_url: url, publishable_key: key }] = await Promise.all([settings(), script("vendor/supabase.js")]);
  const token = pastedToken();
  const auth = { storageKey: SESSION_KEY, detectSessionInUrl: false };
  const options = token ? { accessToken: async () => token } : { auth };
  return window.supabase.createClient(url, key, options);
}

function asJson(response) {
  if (!response.ok) throw new Error(`The page's settings answered with status ${response.status}.`);
  return response.json();
}

function script(path) {
  if (window.supabase) return null;
  return new Promise((resolve, reject) => {
    const onerror = () => reject(new Error("supabase-js can't be loaded."));
    document.head.append(element("script", { src: address(path), onload: resolve, onerror }));
  });
}

/** The data of a supabase-js answer; its error is thrown. */
export async function data(answer) {
  const { data, error } = await answer;
  if (error) throw error;
  return data;
}

/** How far `names` in `bucket` are, by name: `{state, reason}`. A project whose "Max rows" is low tells a part of them at a time. */
export async function states(bucket, names) {
  const rows = await data((await project()).rpc("object_states", { bucket, names }));
  const told = new Map(rows.map((row) => [row.name, row]));
  const left = names.filter((name) => !told.has(name));
  return left.length && left.length < names.length ? new Map([...told, ...(await states(bucket, left))]) : told;
}
