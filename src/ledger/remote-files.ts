/** Files that lie elsewhere, by names with slashes. */
export interface RemoteFiles {
  /** For people: "s3://bucket/prefix". Holds no secret. */
  readonly name: string
  /** Writes the file at `path`; resolves once it is there whole. A part of it is never found under the name. */
  put(name: string, path: string): Promise<Held>
  /** null: there is none. */
  look(name: string): Promise<(Held & { readonly bytes: number }) | null>
  /** Brings it to `to`; false where it is not what is wanted, and then nothing is there. Throws `StorageGone` where there is none. */
  fetch(name: string, to: string, wanted: { bytes: number; sha256: string }): Promise<boolean>
  /** There or not. */
  remove(name: string): Promise<void>
  /** Throws where it cannot be used now. */
  ready(): Promise<void>
}

export interface Held {
  /** Another one whenever the content is. */
  readonly etag: string
}

/** There is no file of that name. */
export class StorageGone extends Error {}
