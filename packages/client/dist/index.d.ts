/** Image search over a Supabase Storage bucket: the query function's client, for browsers, Node and Deno. */
import { type Picture } from './picture.js';
import { SearchError } from './problem.js';
import type { paths } from './openapi.js';
export { SearchError };
export type { Picture };
type Json<Body> = Body extends {
    content: {
        'application/json': infer Value;
    };
} ? Value : never;
type Sent = Json<NonNullable<paths['/']['post']['requestBody']>>;
/** What a search answers: results, best first, and how to go on. */
export type Answer = Json<paths['/']['post']['responses'][200]>;
export type Result = Answer['results'][number];
/** What an upload answers: where the image is, and whether it is searchable yet. */
export type Uploaded = Json<paths['/embeddings']['post']['responses'][201]>;
/** The body of a search; pictures may be files as they are. */
export type Query = Omit<Sent, 'image'> & {
    image?: Picture | Picture[];
};
/** Everything about a search but what it starts from. */
export type Options = Omit<Query, 'text' | 'image' | 'like'>;
/** A stored image: a result, its id, or `bucket/path`. */
export type Stored = number | string | Pick<Result, 'bucket' | 'name'>;
export interface Settings {
    /** The project's publishable key. */
    key: string;
    /** The signed-in user's access token, asked for before each call; without one the caller is anon. */
    accessToken?: () => string | null | undefined | Promise<string | null | undefined>;
    /** Instead of the platform's own. */
    fetch?: typeof fetch;
}
export interface Call {
    signal?: AbortSignal;
}
export interface Upload extends Call {
    bucket: string;
    /** The object's path in the bucket. */
    name: string;
    /** Overwrite what has this name. */
    upsert?: boolean;
    /** Answer when the image is searchable, or after 30 seconds. */
    wait?: boolean;
}
export interface Client {
    /** The nearest images that the caller may see. SearchError where the function refuses, or doesn't answer. */
    search(query: Query, call?: Call): Promise<Answer>;
    /** What looks like an image that is in the index already. */
    similar(image: Stored, options?: Options, call?: Call): Promise<Answer>;
    /** Stores an image as the caller; Storage's policies decide. */
    upload(image: Blob | ArrayBuffer | Uint8Array, upload: Upload): Promise<Uploaded>;
}
/** A client of the query function at `url`: `QUERY_URL`, on the embedded stack `…/functions/v1/query`. */
export declare function createClient(url: string, settings: Settings): Client;
