/** Image search over a Supabase Storage bucket: the query function's client, for browsers, Node and Deno. */
import { toBase64, type Picture } from './picture.js'
import { SearchError, fromResponse, unreachable } from './problem.js'
import type { paths } from './openapi.js'

export { SearchError }
export type { Picture }

type Json<Body> = Body extends { content: { 'application/json': infer Value } } ? Value : never
type Sent = Json<NonNullable<paths['/']['post']['requestBody']>>

/** A search's answer: results, best first, and how to go on. */
export type Answer = Json<paths['/']['post']['responses'][200]>
export type Result = Answer['results'][number]
/** An upload's answer: the image's place, and whether it is searchable yet. */
export type Uploaded = Json<paths['/embeddings']['post']['responses'][201]>

/** The body of a search; pictures may be files as they are. */
export type Query = Omit<Sent, 'image'> & { image?: Picture | Picture[] }
/** Everything about a search but its examples. */
export type Options = Omit<Query, 'text' | 'image' | 'like'>
/** A stored image: a result, its id, or `bucket/path`. */
export type Stored = number | string | Pick<Result, 'bucket' | 'name'>

export interface Settings {
  /** The project's publishable key. */
  key: string
  /** The signed-in user's access token, asked for before each call; without one the caller is anon. */
  accessToken?: () => string | null | undefined | Promise<string | null | undefined>
  /** Instead of the platform's own. */
  fetch?: typeof fetch
}

export interface Call {
  signal?: AbortSignal
}

export interface Upload extends Call {
  bucket: string
  /** The object's path in the bucket. */
  name: string
  /** Overwrite an object with this name. */
  upsert?: boolean
  /** Answer when the image is searchable, or after 30 seconds. */
  wait?: boolean
}

export interface Client {
  /** The nearest images that the caller may see. SearchError where the function refuses, or doesn't answer. */
  search(query: Query, call?: Call): Promise<Answer>
  /** The images most like one that is in the index already. */
  similar(image: Stored, options?: Options, call?: Call): Promise<Answer>
  /** Stores an image as the caller; Storage's policies decide. */
  upload(image: Blob | ArrayBuffer | Uint8Array, upload: Upload): Promise<Uploaded>
}

/** A client of the query function at `url`: `QUERY_URL`, on the embedded stack `…/functions/v1/query`. */
export function createClient(url: string, settings: Settings): Client {
  const base = url.replace(/\/+$/, '')

  const post = async <Value>(path: string, body: BodyInit, type: string | null, { signal }: Call): Promise<Value> => {
    const secrets = await credentials(settings)
    const headers = { ...secrets, ...(type ? { 'Content-Type': type } : {}) }
    const options = { method: 'POST', headers, body, ...(signal ? { signal } : {}) }
    const ask = settings.fetch ?? fetch
    const lost = (cause: unknown): never => {
      throw signal?.aborted ? signal.reason : unreachable(base, cause)
    }
    const response = await ask(base + path, options).catch(lost)
    if (!response.ok) throw await fromResponse(response, Object.values(secrets))
    return (await response.json().catch(lost)) as Value
  }

  // The function doesn't know its own address, so that its previews are relative to it.
  const absolute = (preview: string | null) => preview && (/^https?:/.test(preview) ? preview : `${base}/${preview}`)

  const search = async (query: Query, call: Call = {}): Promise<Answer> => {
    const { image, ...rest } = query
    const pictures = image === undefined ? {} : { image: await encoded(image) }
    const answer = await post<Answer>('', JSON.stringify({ ...rest, ...pictures }), 'application/json', call)
    if (!Array.isArray(answer?.results)) throw unreachable(base, undefined)
    return { ...answer, results: answer.results.map(({ preview, ...result }) => ({ ...result, preview: absolute(preview) })) }
  }

  return {
    search,
    similar: (image, options = {}, call = {}) => search({ ...options, like: [example(image)] }, call),
    upload: (image, { bucket, name, upsert = false, wait = false, signal }) => {
      const form = new FormData()
      form.set('image', image instanceof Blob ? image : new Blob([image as BlobPart]))
      for (const [field, value] of Object.entries({ bucket, name, upsert: String(upsert) })) form.set(field, value)
      return post(`/embeddings${wait ? '?wait=1' : ''}`, form, null, signal ? { signal } : {})
    },
  }
}

async function credentials({ key, accessToken }: Settings): Promise<Record<string, string>> {
  const token = await accessToken?.()
  // fetch would refuse other characters, and tell the token in its error.
  if (!/^[\x21-\x7e]+$/.test(key + (token ?? '')))
    throw new SearchError({
      type: 'unauthorized', title: 'Unauthorized', status: 401,
      detail: 'The key or the access token is empty, or holds characters that none has.',
    })
  return { apikey: key, ...(token ? { Authorization: `Bearer ${token}` } : {}) }
}

async function encoded(image: Picture | Picture[]): Promise<string | string[]> {
  return Array.isArray(image) ? Promise.all(image.map(toBase64)) : toBase64(image)
}

function example(image: Stored): string | { id: number } | { name: string } {
  if (typeof image === 'number') return { id: image }
  return { name: typeof image === 'string' ? image : `${image.bucket}/${image.name}` }
}
