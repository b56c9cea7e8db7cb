// The package has no types.
declare module 'seek-bzip' {
  const bzip2: {
    /** @throws Error for data that are no whole bzip2 file */
    decode(bytes: Uint8Array): Uint8Array
  }
  export default bzip2
}
