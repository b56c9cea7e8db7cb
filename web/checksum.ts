// Checksums of files as they arrive, for `crypto.subtle` takes them whole: SHA-256 of large ones, Git's SHA-1 of small.
import { sha1 } from '@noble/hashes/legacy.js'
import { sha256 } from '@noble/hashes/sha2.js'
import { bytesToHex } from '@noble/hashes/utils.js'
import type { Checksum, RemoteFile } from '../src/web.ts'

export function startChecksum({ etag, size }: RemoteFile): Checksum {
  const hash = etag.length === 64 ? sha256.create() : sha1.create()
  if (etag.length === 40) hash.update(new TextEncoder().encode(`blob ${size}\0`))
  return {
    update: bytes => void hash.update(bytes),
    correct: () => bytesToHex(hash.digest()) === etag,
  }
}
