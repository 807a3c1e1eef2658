/** Image search over a Supabase Storage bucket: the query function's client, for browsers, Node and Deno. */
import { toBase64 } from './picture.js';
import { SearchError, fromResponse, unreachable } from './problem.js';
export { SearchError };
/** A client of the query function at `url`: `QUERY_URL`, on the embedded stack `…/functions/v1/query`. */
export function createClient(url, settings) {
    const base = url.replace(/\/+$/, '');
    const post = async (path, body, type, { signal }) => {
        const secrets = await credentials(settings);
        const headers = { ...secrets, ...(type ? { 'Content-Type': type } : {}) };
        const options = { method: 'POST', headers, body, ...(signal ? { signal } : {}) };
        const ask = settings.fetch ?? fetch;
        const response = await ask(base + path, options).catch((cause) => {
            throw signal?.aborted ? signal.reason : unreachable(base, cause);
        });
        if (!response.ok)
            throw await fromResponse(response, Object.values(secrets));
        return (await response.json());
    };
    const search = async (query, call = {}) => {
        const { image, ...rest } = query;
        const pictures = image === undefined ? {} : { image: await encoded(image) };
        return post('', JSON.stringify({ ...rest, ...pictures }), 'application/json', call);
    };
    return {
        search,
        similar: (image, options = {}, call = {}) => search({ ...options, like: [example(image)] }, call),
        upload: (image, { bucket, name, upsert = false, wait = false, signal }) => {
            const form = new FormData();
            form.set('image', image instanceof Blob ? image : new Blob([image]));
            for (const [field, value] of Object.entries({ bucket, name, upsert: String(upsert) }))
                form.set(field, value);
            return post(`/embeddings${wait ? '?wait=1' : ''}`, form, null, signal ? { signal } : {});
        },
    };
}
async function credentials({ key, accessToken }) {
    const token = await accessToken?.();
    // fetch would refuse other characters, and tell the token in its error.
    if (!/^[\x21-\x7e]+$/.test(key + (token ?? '')))
        throw new SearchError({
            type: 'unauthorized', title: 'Unauthorized', status: 401,
            detail: 'The key or the access token is empty, or holds characters that none has.',
        });
    return { apikey: key, ...(token ? { Authorization: `Bearer ${token}` } : {}) };
}
async function encoded(image) {
    return Array.isArray(image) ? Promise.all(image.map(toBase64)) : toBase64(image);
}
function example(image) {
    if (typeof image === 'number')
        return { id: image };
    return { name: typeof image === 'string' ? image : `${image.bucket}/${image.name}` };
}
