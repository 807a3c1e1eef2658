/** A picture to search by: a file, bytes, or base64. */
export type Picture = Blob | ArrayBuffer | Uint8Array | string;
/** The picture's bytes in base64, as JSON carries them. */
export declare function toBase64(picture: Picture): Promise<string>;
