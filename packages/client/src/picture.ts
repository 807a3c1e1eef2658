/** A picture to search by: a file, bytes, or base64. */
export type Picture = Blob | ArrayBuffer | Uint8Array | string

const CHUNK = 0x8000 // arguments of one call

/** The picture's bytes in base64, as JSON carries them. */
export async function toBase64(picture: Picture): Promise<string> {
  if (typeof picture === 'string') return picture
  const bytes = picture instanceof Blob ? new Uint8Array(await picture.arrayBuffer()) : new Uint8Array(picture)
  let text = ''
  for (let start = 0; start < bytes.length; start += CHUNK)
    text += String.fromCharCode(...bytes.subarray(start, start + CHUNK))
  return btoa(text)
}
