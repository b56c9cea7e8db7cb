// Names of models on the Hub: `org/name`, `org/name@revision`, and a GGUF file, `org/name/file.gguf`; after `hf:` or
// `hf://` no local path is meant. Source: huggingface_hub, utils/_hf_uris.py (revisions), utils/_validators.py (names).

export interface HubReference {
  /** `org/name`. */
  readonly id: string
  /** Branch, tag or commit. */
  readonly revision?: string
  /** Path of a GGUF file in the repository. */
  readonly file?: string
  /** Never a local path. */
  readonly explicit: boolean
}

const REFERENCE =
  /^(hf:(?:\/\/)?)?(\w[\w.-]*\/\w[\w.-]*)(?:@(refs\/(?:pr|convert)\/[\w.-]+|\w[\w.-]*))?(?:\/(.+\.gguf))?$/i

/** What `text` names on the Hub, or undefined where it can only be a path. */
export function hubReference(text: string): HubReference | undefined {
  const [, prefix, id, revision, file] = REFERENCE.exec(text) ?? []
  if (id === undefined || /--|\.\.|[.-](\/|$)|\.(git|gguf)$/i.test(id)) return undefined
  if (revision?.includes('..') || file?.split(/[/\\]/).some(part => part === '' || /^\.+$/.test(part))) return undefined
  return { id, revision, file, explicit: prefix !== undefined }
}
