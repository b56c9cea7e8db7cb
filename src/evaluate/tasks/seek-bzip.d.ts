// The package has no types.
declare module 'seek-bzip' {
  /** @throws Error for data that are no whole bzip2 file */
  export function decode(bytes: Uint8Array): Uint8Array
}
