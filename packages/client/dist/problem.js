/** A search or upload that failed. It never holds a key or a token. */
export class SearchError extends Error {
    name = 'SearchError';
    type;
    status;
    detail;
    value;
    /** Seconds to wait before the next attempt, where the function says so. */
    retryAfter;
    constructor(problem, retryAfter, options) {
        super(problem.detail, options);
        this.type = problem.type;
        this.status = problem.status;
        this.detail = problem.detail;
        this.value = problem.value;
        this.retryAfter = retryAfter;
    }
}
/** The error in an answer; whatever stands between may answer without problem details, or tell the caller's own
 * `secrets` back. */
export async function fromResponse(response, secrets) {
    const text = hidden(await response.text().catch(() => ''), secrets);
    const seconds = Number(response.headers.get('retry-after') ?? NaN);
    return new SearchError(parsed(text, response.status), Number.isFinite(seconds) ? seconds : undefined);
}
export function unreachable(url, cause) {
    const detail = `The query function at ${url} doesn't answer. Check the address and the network.`;
    return new SearchError({ type: 'unreachable', title: 'Unreachable', status: 0, detail }, undefined, { cause });
}
function parsed(text, status) {
    const fallback = { type: 'about:blank', title: 'Error', status, detail: `HTTP ${status}: ${text.slice(0, 200)}` };
    try {
        const problem = JSON.parse(text);
        const detail = problem.detail ?? problem.message ?? fallback.detail;
        return { ...fallback, ...problem, detail, status };
    }
    catch {
        return fallback;
    }
}
function hidden(text, secrets) {
    const words = secrets.map((secret) => secret.replace(/^Bearer /, '')).filter((word) => word.length > 7);
    return words.reduce((shown, word) => shown.replaceAll(word, '…'), text);
}
