// The client's calls, the same in each runtime: uploads a picture, searches by it, and collects the errors.
export async function scenario({ createClient, SearchError }, { url, key, token, picture, name }) {
  const bytes = Uint8Array.from(atob(picture), (letter) => letter.charCodeAt(0))
  const client = createClient(url, { key })
  const names = ({ results }) => results.map((result) => result.name)
  const failed = async (call) => {
    const error = await call().then(() => undefined, (error) => error)
    if (!(error instanceof SearchError)) throw new Error(`no SearchError: ${error}`)
    const { type, status, detail } = error
    return { type, status, detail, everything: [error, error.stack, error.cause].map(told).join() }
  }
  const uploaded = await client.upload(bytes, { bucket: 'images', name, upsert: true, wait: true })
  const found = {}
  for (const [kind, image] of Object.entries({ base64: picture, bytes, buffer: bytes.buffer, blob: new Blob([bytes]) }))
    found[kind] = names(await client.search({ image, limit: 1 }))[0]
  const first = await client.search({ image: [bytes, picture], filter: { bucket: 'images' }, limit: 1 })
  const next = await client.search({ image: [bytes, picture], filter: { bucket: 'images' }, limit: 1, cursor: first.next_cursor })
  const aborted = await client.search({ text: 'x' }, { signal: AbortSignal.abort() }).catch((error) => error.name)
  const preview = await fetch(first.results[0].preview).then((response) => response.headers.get('Content-Type'))
  const user = (accessToken) => createClient(url, { key, accessToken: async () => accessToken })
  return {
    read, uploaded: uploaded.state, found, next: names(next), aborted, preview,
    similar: [
      names(await client.similar(first.results[0], { limit: 3 })),
      names(await client.similar(`images/${name}`, { limit: 3 })),
      names(await client.similar(first.results[0].id, { limit: 3 })),
    ],
    signedIn: names(await user(token).search({ image: bytes, limit: 1 })),
    errors: {
      problem: await failed(() => client.search({ text: 'x', limit: 1000 })),
      forged: await failed(() => user(`${token.slice(0, -9)}forgedpart`).search({ text: 'x' })),
      unsendable: await failed(() => user(`${token}\n`).search({ text: 'x' })),
      notAnImage: await failed(() => client.upload(new Blob(['no image']), { bucket: 'images', name: 'x.png' })),
      unreachable: await failed(() => createClient('http://127.0.0.1:9', { key }).search({ text: 'x' })),
      another: await failed(() => createClient(url, { key, fetch: another }).search({ text: 'x' })),
      escaped: await failed(() => createClient(url, { key, accessToken: () => token, fetch: escaping }).search({ text: 'x' })),
      noResults: await failed(() => createClient(url, { key, fetch: async () => new Response('{}') }).search({ text: 'x' })),
      password: await failed(() => createClient('http://ada:secret-word@127.0.0.1:9', { key }).search({ text: 'x' })),
      long: await failed(() => createClient(url, { key, fetch: long }).search({ text: 'x' })),
      echoed: await failed(() => createClient(url, { key, accessToken: () => token, fetch: refusing }).search({ text: 'x' })),
    },
  }
}

// A network's sign-in page.
const another = async () => new Response('<!doctype html>', { headers: { 'Content-Type': 'text/html' } })

// One whose error page is long, and how much of it was asked for.
const read = { chunks: 0, cancelled: false }
const long = async () => {
  const pull = (controller) => (read.chunks++ < 1000 ? controller.enqueue(new Uint8Array(16 * 1024).fill(65)) : controller.close())
  return new Response(new ReadableStream({ pull, cancel: () => void (read.cancelled = true) }), { status: 502 })
}

// A gateway that tells the caller's own token back.
const refusing = async (_, { headers }) =>
  new Response(`no: ${headers.Authorization}`, { status: 429, headers: { 'Retry-After': '7' } })

// One that spells it with JSON's escapes.
const escaping = async (_, { headers }) => {
  const spelt = [...headers.Authorization].map((letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, '0')}`)
  return new Response(`{"detail": "${spelt.join('')}"}`, { status: 500 })
}

const told = (value) => `${value} ${JSON.stringify(value)} ${JSON.stringify(value, Object.getOwnPropertyNames(value ?? {}))}`
