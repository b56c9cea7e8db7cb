// MPI by FFI (koffi): a dozen functions of this machine's library are called, on bytes. Three ABIs have the same
// functions and other constants: Open MPI's; that of MPICH, Intel MPI and Cray MPI; and the standard one of MPI 5
// (mpi-forum/mpi-abi-stubs; JuliaParallel/MPI.jl, src/consts). No call blocks: a blocked one would hear no signal.
import { createRequire } from 'node:module'
import type * as Koffi from 'koffi'
import { UsageError } from '../base/errors.ts'
import { isOneOfSeveral, type Launched } from '../base/launcher.ts'
import { Waiting, type WaitingOptions, type Word } from './barrier.ts'
import type { Group } from './group.ts'
import { type GroupOptions, groupOver, type Transport } from './transport.ts'

/** What differs between ABIs. Handles are pointers, or integers. */
interface Abi {
  readonly handle: 'void *' | 'int'
  readonly world: bigint | number
  readonly byte: bigint | number
  readonly statusIgnore: bigint
  /** MPI_THREAD_FUNNELED: one thread calls, that which initialises. */
  readonly funneled: number
}

const MPICH: Abi = { handle: 'int', world: 0x44000000, byte: 0x4c00010d, statusIgnore: 1n, funneled: 1 }
const STANDARD: Abi = { handle: 'void *', world: 0x101n, byte: 0x247n, statusIgnore: 0n, funneled: 1024 }

export const OPEN_MPI = ['libmpi.so.40', 'libmpi.40.dylib']
export const OTHERS = [
  ...['libmpi.so.12', 'libmpich.so.12', 'libmpi_cray.so', 'libmpi.12.dylib'],
  ...['libmpi_abi.so.1', 'libmpi_abi.so.0', 'libmpi_abi.so', 'libmpi_abi.1.dylib'],
]

/** Of the words by which ranks wait for each other. */
const TAG = 1

const HINT = 'Say where the library of the launcher is, --mpi <path>, or --mpi off.'

export interface MpiOptions extends GroupOptions, WaitingOptions {}

/**
 * Joins the ranks that a launcher has started. One process can do so once.
 * @param library its path, or `auto`
 * @throws UsageError where there is none, or one of another launcher
 */
export function openMpi(library: string, launched: Launched | undefined, options: MpiOptions = {}): Group {
  const loaded = load(library, launched)
  const { path } = loaded
  const transport = joined(loaded, abiOf(loaded), options)
  const { rank, size, name } = transport
  if (launched?.size !== undefined && launched.size !== size)
    throw new UsageError(
      `${path} (${name}) takes this process for ${rank} of ${size}, and ${launched.by} has started ${launched.size}: ` +
        `it is not the library of this launcher. ${HINT}`,
    )
  return groupOver(transport, options)
}

interface Loaded {
  readonly path: string
  readonly handle: Koffi.LibraryHandle
  readonly koffi: typeof Koffi
}

function load(library: string, launched: Launched | undefined): Loaded {
  let koffi: typeof Koffi
  try {
    koffi = createRequire(import.meta.url)('koffi')
  } catch (cause) {
    throw new UsageError('MPI: the package koffi is not there. Install it beside fasp: npm install koffi.', { cause })
  }
  // UCX takes this signal for fatal, and V8 uses it for WebAssembly.
  process.env.UCX_ERROR_SIGNALS ??= 'SIGILL,SIGBUS,SIGFPE'
  // UCX hooks into the allocation of memory; the hooks crash Node in some runs (bench/log.md).
  process.env.UCX_MEM_EVENTS ??= 'n'
  const isOpenMpi = launched?.by === 'Open MPI'
  const all = isOpenMpi
    ? OPEN_MPI
    : launched && launched.by !== 'PMIx'
      ? [...OTHERS, ...OPEN_MPI]
      : [...OPEN_MPI, ...OTHERS]
  const candidates = library === 'auto' ? all : [library]
  let cause: unknown
  for (const path of candidates)
    try {
      return { path, handle: koffi.load(path, { global: true }), koffi }
    } catch (error) {
      cause = error
    }
  const there = isOneOfSeveral(launched) ? `${launched.by} has started several processes, and there is` : 'there is'
  const problem =
    library === 'auto'
      ? `${there} no MPI library (${candidates.join(', ')})`
      : `cannot load ${library} (${(cause as Error).message})`
  throw new UsageError(`${problem}. ${HINT}`, { cause })
}

function abiOf({ path, handle: lib, koffi }: Loaded): Abi {
  const address = (name: string): bigint | undefined => {
    try {
      return koffi.address(lib.symbol(name, 'char'))
    } catch {
      return undefined
    }
  }
  const [world, byte] = [address('ompi_mpi_comm_world'), address('ompi_mpi_byte')]
  if (world !== undefined && byte !== undefined) return { handle: 'void *', world, byte, statusIgnore: 0n, funneled: 1 }
  return /mpi_abi/.test(path) ? STANDARD : MPICH
}

/** As the library puts it, before MPI is initialised, too: `Open MPI v4.1.4`. */
export function libraryName(library: Koffi.LibraryHandle): string {
  const [text, length] = [Buffer.alloc(8192), new Int32Array(1)]
  library.func('int MPI_Get_library_version(void *, void *)')(text, length)
  return text
    .toString('utf8', 0, length[0])
    .split(/[,\n\0]/)[0]
    .replace(/\s+/g, ' ')
    .trim()
}

function joined({ handle, koffi }: Loaded, abi: Abi, options: WaitingOptions): Transport {
  const { handle: H, world, byte, statusIgnore, funneled } = abi
  const out = koffi.out(koffi.pointer('int'))
  const call = (name: string, ...types: (string | ReturnType<typeof Koffi.out>)[]) => {
    const f = handle.func(name, 'int', types)
    return (...args: unknown[]) => {
      const code = f(...args)
      if (code !== 0) throw new Error(`${name} of MPI gives ${code}`)
    }
  }
  const number = (f: (...args: unknown[]) => void, ...args: unknown[]): number => {
    const found = [0]
    f(...args, found)
    return found[0]
  }
  call('MPI_Init_thread', 'void *', 'void *', 'int', out)(null, null, funneled, [0])
  const [rank, size] = ['MPI_Comm_rank', 'MPI_Comm_size'].map(name => number(call(name, H, out), world))
  const name = libraryName(handle)
  const test = call('MPI_Test', 'void *', 'void *', 'void *')
  const cancel = call('MPI_Cancel', 'void *')
  const [send, receive] = ['MPI_Isend', 'MPI_Irecv'].map(name =>
    call(name, 'void *', 'int', H, 'int', 'int', H, 'void *'),
  )
  const allgather = call('MPI_Iallgather', 'void *', 'int', H, 'void *', 'int', H, H, 'void *')
  const gather = call('MPI_Igather', 'void *', 'int', H, 'void *', 'int', H, 'int', H, 'void *')
  const alltoall = call('MPI_Ialltoall', 'void *', 'int', H, 'void *', 'int', H, H, 'void *')
  const startBroadcast = call('MPI_Ibcast', 'void *', 'int', H, 'int', H, 'void *')
  const abort = call('MPI_Abort', H, 'int')
  const finalize = call('MPI_Finalize')
  // What stays pending between calls lies where V8 moves nothing: a request, a byte, and bytes of large typed arrays.
  const room = () => [koffi.alloc('int64', 1), koffi.alloc('uint8', 1)]
  const flag = koffi.alloc('int', 1)
  const isDone = (request: unknown): boolean => {
    test(request, flag, statusIgnore)
    return koffi.decode(flag, 'int') !== 0
  }
  const [outbox, inbox] = [0, 1].map(() => Array.from({ length: size }, room))
  const receiving = new Set<unknown>()
  const waiting = new Waiting(
    rank,
    size,
    {
      send(to, word) {
        const [request, place] = outbox[to]
        koffi.encode(place, 'uint8', word)
        send(place, 1, byte, to, TAG, world, request)
        return () => isDone(request)
      },
      receive(from) {
        const [request, place] = inbox[from]
        receive(place, 1, byte, from, TAG, world, request)
        receiving.add(request)
        return () => (isDone(request) && receiving.delete(request) ? (koffi.decode(place, 'uint8') as Word) : undefined)
      },
    },
    options,
  )
  const [moving] = room()
  const held = new Set<unknown>() // while MPI reads and writes them
  const moved = async (start: (...args: unknown[]) => void, ...args: unknown[]): Promise<void> => {
    held.add(args)
    start(...args, moving)
    await waiting.until(() => isDone(moving), true)
    held.delete(args)
  }
  return {
    ...{ name, rank, size },
    meet: () => waiting.meet(),
    allgather: (part, all) => moved(allgather, part, part.length, byte, all, part.length, byte, world),
    gather: (part, all) => moved(gather, part, part.length, byte, all, part.length, byte, 0, world),
    alltoall: (sent, received) =>
      moved(alltoall, sent, sent.length / size, byte, received, sent.length / size, byte, world),
    broadcast: bytes => moved(startBroadcast, bytes, bytes.length, byte, 0, world),
    async move(from, to, bytes) {
      if (rank === from) await moved(send, bytes, bytes!.length, byte, to, 0, world)
      if (rank === to) await moved(receive, bytes, bytes!.length, byte, from, 0, world)
    },
    abort: () => abort(world, 1),
    async close() {
      waiting.close()
      for (const request of receiving) {
        cancel(request)
        while (!isDone(request)); // at once: nothing was sent
      }
      finalize()
    },
  }
}
