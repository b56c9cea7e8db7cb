// What every host of the page should send with it: `npm run web` and `fasp ui` do.

/**
 * Only the page's own files; WebAssembly may be compiled, text may not become a script.
 * @param others hosts that the page may ask beside its own
 */
export const policyWith = (others: readonly string[]): string =>
  [
    "default-src 'none'",
    "script-src 'self' 'wasm-unsafe-eval'",
    "worker-src 'self'",
    ["connect-src 'self'", ...others].join(' '),
    "style-src 'self'",
    "img-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
  ].join('; ')

/** The Hub and its stores for large files, the last for uploads. The page asks where its user fetches or pushes. */
export const HUB = [
  ...['https://huggingface.co', 'https://*.huggingface.co', 'https://*.hf.co'],
  'https://hf-hub-lfs-us-east-1.s3-accelerate.amazonaws.com',
]

/** The policy is in the page, too, for hosts that send none. */
export const headersWith = (policy: string) => ({
  'Content-Security-Policy': `${policy}; frame-ancestors 'none'`,
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
})

/** Of `fasp ui`, whose page asks it alone. */
export const POLICY = policyWith([])
export const HEADERS = headersWith(POLICY)
