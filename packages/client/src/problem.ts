/** Problem details (RFC 9457), as the query function answers errors. */
export interface Problem {
  /** Stable, for programs: `unauthorized`, `not-an-image`, …; `unreachable` where nothing answered, or another server. */
  type: string
  title: string
  /** The HTTP status; 0 where nothing answered. */
  status: number
  /** Expected and found values, and the remedy. */
  detail: string
  /** The found value. */
  value?: unknown
}

/** A search or upload that failed. It never holds a key or a token. */
export class SearchError extends Error {
  override name = 'SearchError'
  readonly type: string
  readonly status: number
  readonly detail: string
  readonly value: unknown
  /** Seconds to wait before the next attempt, where the function says so. */
  readonly retryAfter: number | undefined

  constructor(problem: Problem, retryAfter?: number, options?: ErrorOptions) {
    super(problem.detail, options)
    this.type = problem.type
    this.status = problem.status
    this.detail = problem.detail
    this.value = problem.value
    this.retryAfter = retryAfter
  }
}

const MOST = 64 * 1024 // bytes of an error's body: problem details are shorter

/** The error in an answer; a gateway may answer without problem details, or tell the caller's own
 * `secrets` back. */
export async function fromResponse(response: Response, secrets: string[]): Promise<SearchError> {
  const text = await shortText(response).catch(() => '')
  const seconds = Number(response.headers.get('retry-after') ?? NaN)
  return new SearchError(parsed(hidden(plain(text), secrets), response.status), Number.isFinite(seconds) ? seconds : undefined)
}

export function unreachable(url: string, cause: unknown): SearchError {
  const shown = url.replace(/\/\/[^/]*@/, '//')
  const detail = `The query function at ${shown} doesn't answer. Check the address and the network.`
  const options = shown === url ? { cause } : {} // fetch refuses a password in an address, and tells it
  return new SearchError({ type: 'unreachable', title: 'Unreachable', status: 0, detail }, undefined, options)
}

/** The body; of one beyond MOST, which isn't read on, nothing: the cut might go through a secret. */
async function shortText(response: Response): Promise<string> {
  if (!response.body) return ''
  const reader = response.body.getReader()
  const decoder = new TextDecoder()
  let text = ''
  let size = 0
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return text + decoder.decode()
    size += value.length
    if (size > MOST) {
      reader.cancel().catch(() => undefined)
      return `more than ${MOST} bytes`
    }
    text += decoder.decode(value, { stream: true })
  }
}

/** JSON without escapes that spell a secret otherwise. */
function plain(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text))
  } catch {
    return text
  }
}

function parsed(text: string, status: number): Problem {
  const fallback = { type: 'about:blank', title: 'Error', status, detail: `HTTP ${status}: ${text.slice(0, 200)}` }
  try {
    const problem = JSON.parse(text) as Partial<Problem> & { message?: string }
    const detail = problem.detail ?? problem.message ?? fallback.detail
    return { ...fallback, ...problem, detail, status }
  } catch {
    return fallback
  }
}

function hidden(text: string, secrets: string[]): string {
  const words = secrets.map((secret) => secret.replace(/^Bearer /, '')).filter((word) => word.length > 7)
  const spelt = words.flatMap((word) => [JSON.stringify(word).slice(1, -1), word])
  return spelt.reduce((shown, word) => shown.replaceAll(word, '…'), text)
}
