// Who the visitor is: nobody, a user signed in through Supabase Auth, or the user of a pasted token.

import { byId, on, say } from "./dom.js";
import { SESSION_KEY, data, keepToken, pastedToken, project } from "./project.js";

const dialog = byId("sign-in");
let signedIn = false;
let watched = false;
let changed = () => {};

/** `onChange(words)` after signing in or out; `words` ({title, remedy}) where the visitor didn't ask for it. */
export async function start(onChange) {
  changed = onChange;
  on("click", { "open-sign-in": open, "sign-out": signOut });
  on("submit", { "password-form": (event) => attempt(event, byPassword), "token-form": (event) => attempt(event, byToken) });
  if (pastedToken() || localStorage.getItem(SESSION_KEY)) await restore();
}

export const isSignedIn = () => signedIn;

/** The visitor's header; {} for nobody. supabase-js renews the token where its time is nearly up. */
export async function authorization() {
  const token = pastedToken() ?? (signedIn ? (await session())?.access_token : null);
  return token ? { Authorization: `Bearer ${token}` } : {};
}

/** The API refused the token: forgets it, with a word. False where nobody was signed in. */
export async function expire() {
  if (!signedIn) return false;
  if (!pastedToken()) await signOutHere();
  ended();
  return true;
}

function ended() {
  localStorage.removeItem(SESSION_KEY);
  enter(null);
  changed({ title: "You were signed out", remedy: "The session isn't valid any more. Your search is kept: sign in to go on.", act: "Sign in", onAct: open });
}

export function open() {
  say("sign-in-error", "");
  dialog.showModal();
  byId("email").focus();
}

const session = async () => (await data((await project()).auth.getSession())).session;

/** This browser alone forgets the session, out of reach of Auth too. */
const signOutHere = async () => (await project()).auth.signOut({ scope: "local" }).catch(() => {});

async function restore() {
  try {
    if (!pastedToken()) await watch();
    const user = pastedToken() ? claimsOf(pastedToken()) : (await session())?.user; // whether it is still good is for the API to say
    if (user) enter(user);
    else ended();
  } catch (error) {
    if (error.status === 0 || error.name === "AuthRetryableFetchError") enter({}); // out of reach: the API will tell
    else ended();
  }
}

/** Another tab signs out, or the refresh token is refused. */
async function watch() {
  const { auth } = await project();
  if (watched) return;
  watched = true;
  auth.onAuthStateChange((event) => event === "SIGNED_OUT" && setTimeout(() => signedIn && ended()));
}

async function attempt(event, act) {
  event.preventDefault();
  event.submitter.disabled = true;
  say("sign-in-error", "");
  try {
    await act(new FormData(event.target));
    event.target.reset();
    dialog.close();
    changed();
  } catch (error) {
    const unreachable = error instanceof TypeError || error.name === "AuthRetryableFetchError";
    say("sign-in-error", unreachable ? "Supabase Auth can't be reached. Try again." : error.message);
  }
  event.submitter.disabled = false;
}

async function byPassword(form) {
  keepToken(null);
  const { auth } = await project();
  const { user } = await data(auth.signInWithPassword(Object.fromEntries(form)));
  await watch();
  enter(user);
}

function byToken(form) {
  const token = form.get("token").trim().replace(/^Bearer\s+/i, "");
  const claims = claimsOf(token);
  if (token.startsWith("sb_secret_") || claims?.role === "service_role") throw new Error("That is a secret key. It must not be used in a browser.");
  if (!claims) throw new Error("That isn't a token of a user: three parts with dots between them.");
  if (claims.exp * 1000 < Date.now()) throw new Error("This token's time is over. Get a new one.");
  keepToken(token);
  enter(claims);
}

function claimsOf(token) {
  try {
    return JSON.parse(atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/")));
  } catch {
    return null;
  }
}

async function signOut() {
  const remote = pastedToken() ? null : signOutHere();
  enter(null);
  await remote;
  changed();
}

/** Shows who is signed in; null for nobody. */
function enter(user) {
  signedIn = Boolean(user);
  if (!user) keepToken(null);
  say("who", user ? user.email || user.id || user.sub || user.role || "signed in" : "");
  byId("open-sign-in").hidden = signedIn;
  byId("sign-out").hidden = !signedIn;
}
