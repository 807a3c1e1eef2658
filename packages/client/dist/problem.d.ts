/** Problem details (RFC 9457), as the query function answers errors. */
export interface Problem {
    /** Stable, for programs: `unauthorized`, `not-an-image`, …; `unreachable` where nothing answered. */
    type: string;
    title: string;
    /** The HTTP status; 0 where nothing answered. */
    status: number;
    /** What was expected, what was found, what to do. */
    detail: string;
    /** What was found. */
    value?: unknown;
}
/** A search or upload that failed. It never holds a key or a token. */
export declare class SearchError extends Error {
    name: string;
    readonly type: string;
    readonly status: number;
    readonly detail: string;
    readonly value: unknown;
    /** Seconds to wait before the next attempt, where the function says so. */
    readonly retryAfter: number | undefined;
    constructor(problem: Problem, retryAfter?: number, options?: ErrorOptions);
}
/** The error in an answer; whatever stands between may answer without problem details, or tell the caller's own
 * `secrets` back. */
export declare function fromResponse(response: Response, secrets: string[]): Promise<SearchError>;
export declare function unreachable(url: string, cause: unknown): SearchError;
