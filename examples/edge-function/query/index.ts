// Lets supabase.functions.invoke('query') reach the container that QUERY_URL names. It holds no key: the
// caller's own Authorization and apikey decide on results and uploads.

const SENT = ["authorization", "apikey", "content-type", "user-agent"]; // by which query refuses a browser's secret key
const RETURNED = [
  "content-type", "cache-control", "content-security-policy", "retry-after",
  "referrer-policy", "x-content-type-options",
];
const CORS = {
  "Access-Control-Allow-Origin": "*",
  "Access-Control-Allow-Headers": "authorization, apikey, content-type, x-client-info",
  "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
  "Access-Control-Expose-Headers": "Retry-After",
};
const PATIENCE = 120_000; // ms; the platform cuts a function off after 150 s

Deno.serve(async (request: Request): Promise<Response> => {
  if (request.method === "OPTIONS") return preflight(request);
  const base = Deno.env.get("QUERY_URL");
  if (!base) return problem(500, "settings-error", "QUERY_URL is missing: supabase secrets set QUERY_URL=…");
  try {
    const answer = await fetch(target(base, request.url), {
      method: request.method,
      headers: only(SENT, request.headers),
      body: request.body, // streamed, as is the answer
      redirect: "manual", // the caller's credentials go to QUERY_URL and nowhere else
      signal: AbortSignal.any([request.signal, AbortSignal.timeout(PATIENCE)]), // query ends the search of who hangs up
    });
    const headers = { ...only(RETURNED, answer.headers), ...CORS };
    return new Response(answer.body, { status: answer.status, headers });
  } catch (error) {
    console.error("QUERY_URL doesn't answer:", error);
    return problem(502, "query-unreachable", "QUERY_URL doesn't answer. Check it, and the container.");
  }
});

/** Allows the headers that clients and tracing libraries add: only those in SENT go on. */
function preflight(request: Request): Response {
  const asked = request.headers.get("access-control-request-headers");
  return new Response(null, { status: 204, headers: asked ? { ...CORS, "Access-Control-Allow-Headers": asked } : CORS });
}

/** QUERY_URL, the path after this function's own name, and the query string. */
function target(base: string, url: string): string {
  const { pathname, search } = new URL(url);
  return base.replace(/\/+$/, "") + pathname.replace(/^(\/functions\/v1)?\/[^/]+/, "") + search;
}

function only(names: string[], headers: Headers): Record<string, string> {
  return Object.fromEntries([...headers].filter(([name]) => names.includes(name)));
}

/** Problem details (RFC 9457), as the query function answers errors. */
function problem(status: number, type: string, detail: string): Response {
  const title = type[0].toUpperCase() + type.slice(1).replaceAll("-", " ");
  const headers = { "Content-Type": "application/problem+json", ...CORS };
  return new Response(JSON.stringify({ type, title, status, detail }), { status, headers });
}
