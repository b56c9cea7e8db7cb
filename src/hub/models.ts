// What the Hub has of models, as a page finds and fetches them (models.web.ts).
import type { RemoteFile } from './listing.ts'

/** A model that the Hub has found. */
export interface HubModel {
  readonly id: string
  readonly parameters?: number
  /** In the last month. */
  readonly downloads?: number
}

/** What of a repository opens as one model: a GGUF file by its name, or the folder, which has none. */
export interface HubPart {
  readonly name: string
  readonly bytes: number
  readonly files: readonly RemoteFile[]
}

export interface HubRepo {
  readonly id: string
  readonly commit: string
  readonly parts: readonly HubPart[]
}

/** A part of a repository, at a commit. */
export interface HubOrigin extends Pick<HubRepo, 'id' | 'commit'> {
  readonly part: HubPart
}
