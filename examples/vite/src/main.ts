import type { Result } from 'neural-search-client'
import { images, supabase } from './clients'

const BUCKET = 'albums' // each user sees their own images there
const LIMIT = 24
const SIMILAR = 8

const byId = <Tag extends HTMLElement>(id: string) => document.getElementById(id) as Tag
const status = byId('status'), grid = byId('grid'), title = byId('title'), picture = byId<HTMLImageElement>('asked')

type Tile = Pick<Result, 'name' | 'url'>
interface View { heading: string; tiles: Tile[]; asked?: Tile }

let latest = 0

/** Runs an action of the user's, and shows its view, or its error; a later action goes before it. */
async function act(doing: string, action: () => Promise<View | void>) {
  const turn = ++latest
  status.textContent = doing
  try {
    const view = await action()
    if (turn !== latest) return
    if (view) show(view)
    status.textContent = ''
  } catch (error) {
    if (turn === latest) status.textContent = (error as Error).message // of a search: the problem's detail
  }
}

/** The view of the address: links and the search form lead there, so that Back and bookmarks work. */
function view(): Promise<View> {
  const address = new URLSearchParams(location.search)
  const text = address.get('q'), like = address.get('like')
  byId<HTMLInputElement>('text').value = text ?? ''
  return text ? search(text) : like ? similar(like) : newest()
}

/** The newest images, from Storage itself: those at the top, and those a folder below. */
async function newest(): Promise<View> {
  const entries = await list('')
  const folders = await Promise.all(entries.filter(({ id }) => !id).map(({ name }) => list(`${name}/`)))
  const files = [...entries, ...folders.flat()].filter(({ id }) => id)
  files.sort((one, other) => (other.created_at ?? '').localeCompare(one.created_at ?? ''))
  const names = files.slice(0, LIMIT).map(({ name }) => name)
  return { heading: 'My newest images', tiles: names.length ? await signed(names) : [] }
}

async function signed(names: string[]): Promise<Tile[]> {
  const { data, error } = await supabase.storage.from(BUCKET).createSignedUrls(names, 3600)
  if (error) throw error
  return data.map(({ path, signedUrl }) => ({ name: path ?? '', url: signedUrl }))
}

async function list(folder: string) {
  const sortBy = { column: 'created_at', order: 'desc' }
  const { data, error } = await supabase.storage.from(BUCKET).list(folder, { limit: 100, sortBy })
  if (error) throw error
  return data.map(({ name, ...entry }) => ({ ...entry, name: folder + name }))
}

async function search(text: string): Promise<View> {
  const { results } = await images.search({ text, filter: { bucket: BUCKET }, limit: LIMIT })
  return { heading: `Nearest to “${text}”`, tiles: results }
}

async function similar(name: string): Promise<View> {
  const { results } = await images.similar({ bucket: BUCKET, name }, { filter: { bucket: BUCKET }, limit: SIMILAR })
  const [asked] = await signed([name])
  return { heading: `Similar to ${label(name)}`, tiles: results, asked }
}

/** Stores the files as the user, each until it can be found. */
async function upload(files: FileList) {
  const { data: { user } } = await supabase.auth.getUser()
  for (const file of files) {
    status.textContent = `Uploading ${file.name} …`
    const name = `${user?.id}/${file.name}`
    const { state, reason } = await images.upload(file, { bucket: BUCKET, name, upsert: true, wait: true })
    if (state !== 'searchable') throw new Error(`${file.name}: ${reason ?? state}`)
  }
  location.assign('?')
}

function show({ heading, tiles, asked }: View) {
  document.title = title.textContent = heading
  picture.hidden = !asked
  if (asked) Object.assign(picture, { src: asked.url ?? '', alt: label(asked.name) })
  grid.replaceChildren(...tiles.map(tile))
  if (!tiles.length) grid.textContent = 'There is nothing here yet.'
}

function tile({ name, url }: Tile) {
  const item = document.createElement('li')
  const image = Object.assign(new Image(), { src: url ?? '', alt: label(name), loading: 'lazy' })
  const link = Object.assign(document.createElement('a'), { href: `?${new URLSearchParams({ like: name })}`, textContent: 'Similar images' })
  link.setAttribute('aria-label', `Similar images to ${label(name)}`)
  item.append(image, link)
  return item
}

const label = (name: string) => name.split('/').at(-1) ?? name

byId<HTMLFormElement>('sign-in').onsubmit = (event) => {
  event.preventDefault()
  const { email, password } = Object.fromEntries(new FormData(event.target as HTMLFormElement)) as Record<string, string>
  act('Signing in …', async () => {
    const { error } = await supabase.auth.signInWithPassword({ email, password })
    if (error) throw error
  })
}
byId<HTMLInputElement>('upload').onchange = ({ target }) => {
  const { files } = target as HTMLInputElement
  if (files?.length) act('', () => upload(files))
}
byId('sign-out').onclick = () => act('Signing out …', async () => {
  await supabase.auth.signOut()
  location.assign('?')
})

let shown: string | undefined
supabase.auth.onAuthStateChange((_, session) => {
  const signedIn = Boolean(session)
  byId('sign-in').hidden = signedIn
  byId('app').hidden = !signedIn
  const isNew = session?.user.id !== shown // a refreshed token changes nothing on the page
  shown = session?.user.id
  if (!isNew) return
  grid.replaceChildren()
  // Not within this callback: it holds supabase-js's lock.
  if (signedIn) setTimeout(() => act('Loading …', view))
})
