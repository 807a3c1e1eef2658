// Who the visitor is: nobody, somebody signed in through Supabase Auth, or whoever a pasted token names.

import { byId, onClick } from "./dom.js";
import { SESSION_KEY, data, keepToken, pastedToken, project } from "./project.js";

const dialog = byId("sign-in");
let signedIn = false;
let watched = false;
let changed = () => {};

/** `onChange(words)` after signing in or out; `words` ({title, remedy}) where the visitor didn't ask for it. */
export async function start(onChange) {
  changed = onChange;
  onClick({ "open-sign-in": open, "sign-out": signOut });
  byId("password-form").addEventListener("submit", (event) => attempt(event, byPassword));
  byId("token-form").addEventListener("submit", (event) => attempt(event, byToken));
  if (pastedToken() || localStorage.getItem(SESSION_KEY)) await restore();
}

/** The header that says who asks; {} for nobody. supabase-js renews the token where its time is nearly up. */
export async function authorization() {
  const token = pastedToken() ?? (signedIn ? await currentToken() : null);
  return token ? { Authorization: `Bearer ${token}` } : {};
}

/** The API refused the token: forgets it, with a word. False where nobody was signed in. */
export async function expire() {
  if (!signedIn) return false;
  if (!pastedToken()) await data((await project()).auth.signOut({ scope: "local" })).catch(() => {});
  ended();
  return true;
}

function ended() {
  localStorage.removeItem(SESSION_KEY);
  leave();
  changed({ title: "You were signed out", remedy: "The session isn't valid any more. Your search is kept: sign in to go on.", act: "Sign in", onAct: open });
}

export function open() {
  say("");
  dialog.showModal();
  byId("email").focus();
}

async function currentToken() {
  const { session } = await data((await project()).auth.getSession());
  return session?.access_token;
}

async function restore() {
  try {
    const claims = pastedToken() ? claimsOf(pastedToken()) : await user();
    if (claims) enter(nameOf(claims));
    else ended();
  } catch (error) {
    if (error.status === 0 || error.name === "AuthRetryableFetchError") enter("signed in"); // out of reach: the API will tell
    else ended();
  }
}

/** The session's user, from the token itself: whether it is still good is for the API to say. */
async function user() {
  const client = await project();
  watch(client);
  const { session } = await data(client.auth.getSession());
  return session?.user;
}

/** Another tab signs out, or the refresh token is refused. */
function watch(client) {
  if (watched) return;
  watched = true;
  client.auth.onAuthStateChange((event) => {
    if (event === "SIGNED_OUT" && signedIn) setTimeout(() => signedIn && ended());
  });
}

async function attempt(event, act) {
  event.preventDefault();
  const button = event.target.querySelector("[type=submit]");
  button.disabled = true;
  say("");
  try {
    await act(new FormData(event.target));
    event.target.reset();
    dialog.close();
    changed();
  } catch (error) {
    say(error.message === "Failed to fetch" ? "Supabase Auth can't be reached. Try again." : error.message);
  }
  button.disabled = false;
}

async function byPassword(form) {
  keepToken(null);
  const client = await project();
  const { user } = await data(client.auth.signInWithPassword({ email: form.get("email"), password: form.get("password") }));
  watch(client);
  enter(nameOf(user));
}

function byToken(form) {
  const token = form.get("token").trim().replace(/^Bearer\s+/i, "");
  const claims = claimsOf(token);
  if (token.startsWith("sb_secret_")) throw new Error("That is a secret key. It must not be used in a browser.");
  if (!claims) throw new Error("That isn't a token of a user: three parts with dots between them.");
  if (claims.exp * 1000 < Date.now()) throw new Error("This token's time is over. Get a new one.");
  keepToken(token);
  enter(nameOf(claims));
}

function claimsOf(token) {
  try {
    return JSON.parse(atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/")));
  } catch {
    return null;
  }
}

const nameOf = ({ email, id, sub, role }) => email || id || sub || role || "signed in";

function enter(name) {
  signedIn = true;
  show(name);
}

function leave() {
  signedIn = false;
  keepToken(null);
  show("");
}

async function signOut() {
  const client = await project();
  const remote = pastedToken() ? null : client.auth.signOut({ scope: "local" });
  leave();
  await remote;
  changed();
}

function show(name) {
  byId("who").textContent = name;
  byId("open-sign-in").hidden = signedIn;
  byId("sign-out").hidden = !signedIn;
}

const say = (words) => { byId("sign-in-error").textContent = words; };
