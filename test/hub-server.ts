// A Hugging Face Hub on this machine, for tests: the parts of its API that @huggingface/hub and Python's huggingface_hub use to read and write
// models, and a store on another origin for large files, as the real one has. Repositories are in memory; `fault` spoils answers.
// Sources: huggingface_hub 2.4.0 (hf_api.py, _commit_api.py, lfs.py, file_download.py), @huggingface/hub 2.17.5 (src/lib).
import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type Answer, answer, type Fault, json, part, refuse, send } from './hub-answers.ts'

type RepoFiles = ReadonlyMap<string, Buffer>

interface Repo {
  readonly private?: boolean
  /** Only these tokens may read files. */
  readonly gated?: readonly string[]
  /** Commits of branches and pull requests. */
  readonly refs: Map<string, string>
}

export interface Asked {
  readonly method: string
  readonly path: string
  readonly range?: string
  /** Asked of the store, not of the Hub. */
  readonly store: boolean
  readonly token?: string
  readonly search: URLSearchParams
  readonly length?: string
  readonly body: Buffer
}

interface Account {
  readonly name: string
  readonly mayWrite: boolean
}

const sha1 = (...parts: (string | Buffer)[]) =>
  parts.reduce((hash, one) => hash.update(one), createHash('sha1')).digest('hex')
const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')
/** Git's name of a file. */
const gitName = (bytes: Buffer) => sha1(`blob ${bytes.length}\0`, bytes)
const isLarge = (path: string) => /\.(safetensors|bin|gguf)$/.test(path)
const owner = (id: string) => id.split('/')[0]

/** As the Hub and its store do for pages of other hosts. */
function allowPages(response: ServerResponse, store: boolean): void {
  const allow = (what: string, value: string) => response.setHeader(`Access-Control-Allow-${what}`, value)
  allow('Origin', '*')
  allow('Methods', store ? 'GET, PUT' : 'GET, HEAD, POST, PUT, PATCH, DELETE')
  allow('Headers', store ? 'Content-Type, X-Request-Id' : 'Authorization, Content-Type, Range')
  const shown = store ? 'Content-Range, ETag' : 'Content-Range, ETag, Link, X-Error-Code, X-Error-Message, X-Request-Id'
  response.setHeader('Access-Control-Expose-Headers', shown)
}

/** Uploads above it are in parts. */
const PART_BYTES = 2 ** 20
/** Entries in one answer of a listing. */
const PAGE = 5
const NO_RIGHT = refuse(403, 'You do not have the right to write to this repository')

export class HubServer {
  readonly repos = new Map<string, Repo>()
  readonly requests: Asked[] = []
  readonly tokens = new Map<string, Account>([
    ['hf_writer', { name: 'me', mayWrite: true }],
    ['hf_reader', { name: 'me', mayWrite: false }],
  ])
  fault: (asked: Asked) => Fault | undefined = () => undefined
  url = ''
  /** Origin of the large files. */
  get store(): string {
    return this.#storeUrl
  }

  #storeUrl = ''
  readonly #commits = new Map<string, RepoFiles>()
  /** Large files, and parts of them on the way in. */
  readonly #stored = new Map<string, Buffer>()
  readonly #servers: Server[] = []

  async start(): Promise<this> {
    this.url = await this.#listen(false)
    this.#storeUrl = await this.#listen(true)
    return this
  }

  /** Forgets everything. */
  reset(): void {
    for (const one of [this.repos, this.#commits, this.#stored]) one.clear()
    this.requests.length = 0
    this.fault = () => undefined
  }

  async stop(): Promise<void> {
    for (const server of this.#servers) {
      server.closeAllConnections()
      await new Promise(resolve => server.close(resolve))
    }
  }

  /** Makes a repository (`org/name`, `datasets/org/name`), or a commit in it. @returns the commit */
  put(id: string, files: Readonly<Record<string, Buffer | string>>, more: Partial<Repo> = {}, ref = 'main'): string {
    const repo = this.repos.get(id) ?? { refs: new Map(), ...more }
    this.repos.set(id, repo)
    const given = Object.entries(files).map(([path, bytes]) => [path, Buffer.from(bytes as string)] as const)
    return this.#commit(repo, ref, new Map([['.gitattributes', Buffer.from('*.bin lfs\n')], ...given]))
  }

  /** The files at a branch or pull request. */
  files(id: string, ref = 'main'): Readonly<Record<string, Buffer>> {
    return Object.fromEntries(this.#commits.get(this.repos.get(id)?.refs.get(ref) ?? '') ?? [])
  }

  /** Requests for the contents of files since the last call. */
  downloads(): Asked[] {
    const all = this.requests.splice(0)
    return all.filter(({ method, path, store }) => method === 'GET' && (store || path.includes('/resolve/')))
  }

  #commit(repo: Repo, ref: string, files: RepoFiles): string {
    const listing = [...files].map(([path, bytes]) => `${path} ${sha256(bytes)}\n`)
    const commit = sha1(`${repo.refs.get(ref)} ${listing.join('')}`)
    this.#commits.set(commit, files)
    repo.refs.set(ref, commit)
    return commit
  }

  async #listen(store: boolean): Promise<string> {
    const server = createServer((request, response) => {
      this.#serve(request, response, store).catch(() => response.destroy()) // who asked has gone
    })
    this.#servers.push(server)
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  }

  async #serve(request: IncomingMessage, response: ServerResponse, store: boolean): Promise<void> {
    if (request.headers.origin) allowPages(response, store)
    if (request.method === 'OPTIONS') return void response.writeHead(204).end()
    const { pathname, searchParams: search } = new URL(request.url ?? '', this.url)
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk)
    const { range, authorization, 'content-length': length } = request.headers
    const asked: Asked = {
      method: request.method ?? '',
      path: decodeURIComponent(pathname),
      range,
      store,
      token: authorization?.replace('Bearer ', ''),
      search,
      length,
      body: Buffer.concat(chunks),
    }
    this.requests.push(asked)
    const fault = this.fault(asked)
    const served = fault?.noRanges ? { ...asked, range: undefined } : asked
    let reply: Answer
    try {
      reply = fault?.answer ?? (store ? this.#store(served) : this.#hub(served))
    } catch (error) {
      reply = answer(500, String(error))
    }
    await new Promise(resolve => setTimeout(resolve, fault?.delay ?? 0))
    send(request, response, reply, fault)
  }

  /** Its addresses are signed: a token must not come here. */
  #store({ method, path, range, token, length, body }: Asked): Answer {
    if (token !== undefined) return answer(400, 'Only one auth mechanism allowed')
    if (method === 'PUT' && length === undefined) return answer(411, 'MissingContentLength')
    const name = path.slice(1)
    if (method === 'PUT') this.#stored.set(name, body)
    const bytes = this.#stored.get(name)
    if (!bytes) return answer(404)
    return method === 'PUT' ? answer(200, '', { ETag: `"${sha1(bytes)}"` }) : part(bytes, range, { ETag: `"${name}"` })
  }

  #hub(asked: Asked): Answer {
    const { path, token, body } = asked
    const account = this.tokens.get(token ?? '')
    if (token !== undefined && !account) {
      const message = 'Invalid credentials in Authorization header'
      return refuse(401, message, { 'X-Error-Message': message })
    }
    if (path === '/api/whoami-v2')
      return account ? json({ type: 'user', name: account.name, orgs: [] }) : refuse(401, '')
    if (path === '/api/models') return this.#search(asked.search.get('search') ?? '')
    if (path === '/api/validate-yaml') return json({ errors: [], warnings: [] })
    if (path === '/api/repos/create') return this.#create(account, JSON.parse(body.toString()))
    const [, id = '', rest = ''] =
      /^\/(?:api\/(?:models\/)?)?((?:datasets\/)?[^/]+\/[^/]+?)(?:\.git)?(?:\/(.+))?$/.exec(path) ?? []
    const repo = this.repos.get(id)
    if (!repo || (repo.private && account?.name !== owner(id)))
      return refuse(account ? 404 : 401, 'Repository not found', { 'X-Error-Code': 'RepoNotFound' })
    const [, verb = 'revision', where = 'main'] = /^(info\/lfs|\w+)\/(.+)$/.exec(rest) ?? []
    const signed = where === 'complete' // as the addresses of the store are
    const mayWrite = signed || (account?.mayWrite && account.name === owner(id))
    if (['info/lfs', 'preupload', 'commit', 'branch'].includes(verb))
      return mayWrite ? this.#write(asked, id, repo, verb, where) : NO_RIGHT
    return this.#read(asked, id, repo, verb, where)
  }

  #search(words: string): Answer {
    const found = [...this.repos].filter(([id, repo]) => id.includes(words) && !repo.private)
    return json(found.map(([id]) => ({ id, downloads: 7, safetensors: { total: 1_300_000 } })))
  }

  #create(account: Account | undefined, { name, organization, visibility, ...old }: Record<string, unknown>): Answer {
    const namespace = organization ?? account?.name
    if (!account?.mayWrite || namespace !== account.name)
      return refuse(403, `You don't have the rights to create a model under the namespace "${namespace}"`)
    const id = `${namespace}/${name}`
    if (this.repos.has(id)) return refuse(409, 'You already created this model repo')
    this.put(id, {}, { private: visibility === 'private' || old.private === true })
    return json({ url: `${this.url}/${id}`, id, name: id })
  }

  #read({ token, range, search, path }: Asked, id: string, repo: Repo, verb: string, where: string): Answer {
    const known = [...repo.refs.keys(), ...this.#commits.keys()].find(name => `${where}/`.startsWith(`${name}/`))
    const commit = repo.refs.get(known ?? '') ?? known ?? ''
    const files = this.#commits.get(commit)
    if (!files) return refuse(404, `Invalid rev id: ${where}`, { 'X-Error-Code': 'RevisionNotFound' })
    const inside = where.slice(known!.length + 1)
    if (verb === 'tree') return this.#tree(files, inside, new URL(`${path}?${search}`, this.url))
    if (verb === 'resolve') {
      if (!repo.gated || repo.gated.includes(token ?? '')) return this.#resolve(commit, files, inside, range)
      return refuse(token ? 403 : 401, `Access to model ${id} is restricted`, { 'X-Error-Code': 'GatedRepo' })
    }
    return json({
      _id: id,
      id,
      modelId: id,
      sha: commit,
      private: repo.private === true,
      gated: repo.gated ? 'manual' : false,
      downloads: 0,
      likes: 0,
      lastModified: '2026-01-01T00:00:00.000Z',
      siblings: [...files.keys()].map(rfilename => ({ rfilename })),
    })
  }

  #resolve(commit: string, files: RepoFiles, path: string, range: string | undefined): Answer {
    const bytes = files.get(path)
    const headers = { 'X-Repo-Commit': commit }
    if (!bytes) return refuse(404, 'Entry not found', { 'X-Error-Code': 'EntryNotFound', ...headers })
    if (!isLarge(path)) return part(bytes, range, { ETag: `"${gitName(bytes)}"`, ...headers })
    const name = sha256(bytes)
    this.#stored.set(name, bytes)
    const linked = { 'X-Linked-ETag': `"${name}"`, 'X-Linked-Size': String(bytes.length) }
    return answer(302, '', { Location: `${this.#storeUrl}/${name}`, ...linked, ...headers })
  }

  /** @param folder '' is the whole repository */
  #tree(all: RepoFiles, folder: string, url: URL): Answer {
    const files = new Map([...all].filter(([path]) => path.startsWith(folder && `${folder}/`)))
    const folders = new Set([...files.keys()].flatMap(path => /^(.+)\//.exec(path)?.[1] ?? []))
    const entries = [
      ...[...folders].map(path => ({ type: 'directory', oid: sha1(path), size: 0, path })),
      ...[...files].map(([path, bytes]) => ({
        type: 'file',
        oid: gitName(bytes),
        size: bytes.length,
        path,
        ...(isLarge(path) ? { lfs: { oid: sha256(bytes), size: bytes.length, pointerSize: 134 } } : {}),
      })),
    ]
    const start = Number(url.searchParams.get('cursor') ?? 0)
    url.searchParams.set('cursor', String(start + PAGE))
    const more = start + PAGE < entries.length ? { Link: `<${url}>; rel="next"` } : undefined
    return json(entries.slice(start, start + PAGE), more)
  }

  #write({ body, search }: Asked, id: string, repo: Repo, verb: string, where: string): Answer {
    if (verb === 'commit') return this.#receive(id, repo, where, body.toString(), search.has('create_pr'))
    const value = JSON.parse(body.toString())
    if (verb === 'info/lfs') return this.#lfs(id, where, value)
    if (verb === 'branch') {
      if (value.emptyBranch) this.#commit(repo, where, new Map())
      else repo.refs.set(where, repo.refs.get(value.startingPoint ?? 'main')!)
      return json({})
    }
    const mode = (path: string) => (isLarge(path) ? 'lfs' : 'regular')
    const files = value.files.map(({ path }: { path: string }) => ({
      path,
      uploadMode: mode(path),
      shouldIgnore: false,
    }))
    return json({ files })
  }

  /** git-lfs/docs/api/batch.md, and the Hub's `multipart` transfer. */
  #lfs(id: string, where: string, { objects, oid, parts }: LfsRequest): Answer {
    if (where === 'verify') return json({})
    if (where === 'complete') {
      const pieces = parts.map(({ partNumber }) => this.#stored.get(`${oid}.${partNumber}`)!)
      this.#stored.set(oid, Buffer.concat(pieces))
      return json({})
    }
    const actions = (oid: string, size: number) => {
      const verify = { href: `${this.url}/${id}.git/info/lfs/verify` }
      const count = Math.ceil(size / PART_BYTES)
      if (count <= 1) return { upload: { href: `${this.#storeUrl}/${oid}` }, verify }
      const numbers = Array.from({ length: count }, (_, i) => i + 1)
      const urls = numbers.map(n => [String(n).padStart(5, '0'), `${this.#storeUrl}/${oid}.${n}`])
      const header = { chunk_size: String(PART_BYTES), ...Object.fromEntries(urls) }
      return { upload: { href: `${this.url}/${id}.git/info/lfs/complete`, header }, verify }
    }
    const batch = {
      transfer: 'multipart',
      objects: objects.map(one => (this.#stored.has(one.oid) ? one : { ...one, actions: actions(one.oid, one.size) })),
    }
    return json(batch, { 'X-Request-Id': `Root=${where.length}` })
  }

  #receive(id: string, repo: Repo, branch: string, lines: string, pullRequest: boolean): Answer {
    const files = new Map(this.#commits.get(repo.refs.get(branch)!))
    for (const line of lines.trimEnd().split('\n')) {
      const { key, value } = JSON.parse(line)
      if (key === 'header' && value.parentCommit && value.parentCommit !== repo.refs.get(branch))
        return refuse(412, 'A commit has happened since. Please refresh and try again.')
      if (key === 'file') files.set(value.path, Buffer.from(value.content, value.encoding))
      if (key === 'deletedFile') files.delete(value.path)
      if (key !== 'lfsFile') continue
      const bytes = this.#stored.get(value.oid)
      if (!bytes || sha256(bytes) !== value.oid || bytes.length !== value.size)
        return refuse(422, `${value.path}: no such large file was uploaded`)
      files.set(value.path, bytes)
    }
    const number = [...repo.refs.keys()].filter(name => name.startsWith('refs/pr/')).length + 1
    const ref = pullRequest ? `refs/pr/${number}` : branch
    if (pullRequest) repo.refs.set(ref, repo.refs.get(branch)!)
    const commitOid = this.#commit(repo, ref, files)
    const pullRequestUrl = pullRequest ? `${this.url}/${id}/discussions/${number}` : undefined
    return json({ success: true, commitOid, commitUrl: `${this.url}/${id}/commit/${commitOid}`, pullRequestUrl })
  }
}

interface LfsRequest {
  readonly objects: readonly { readonly oid: string; readonly size: number }[]
  readonly oid: string
  readonly parts: readonly { readonly partNumber: number }[]
}
