/**
 * One native driver with its completions recorded, for tests of the raw contract. Owns the driver, a node:net peer's
 * plumbing and every deadline; it keeps no opinion about what should happen.
 */
import { constants } from 'node:os'
import * as net from 'node:net'
import { join } from 'node:path'
import {
  COMMAND_HEADER_WORDS,
  COMMAND_WORDS,
  COMPLETION_HEADER_WORDS,
  COMPLETION_WORDS,
  Dispatched,
  FLAG_MORE,
  Op,
  loadBinding,
} from '../../src/core/binding'
import type { DriverKind, NativeDriver, NativeOptions, SocketName } from '../../src/core/binding'

export const binding = loadBinding()

export const addonPath =
  process.env.URING_NET_ADDON ??
  join(__dirname, '..', '..', 'native', 'build', 'Release', 'uring_net.node')

/** -errno by name. */
export const errno = (name: keyof typeof constants.errno): number => -constants.errno[name]

const probed = binding.probe()
/** A feature's bit in NativeOptions.disable. */
export const featureBit = (name: string): number => 1 << Object.keys(probed.features).indexOf(name)

/** The drivers this kernel offers. */
export const kinds: DriverKind[] = probed.uringError === 0 ? ['uring', 'epoll'] : ['epoll']
if (kinds.length === 1) {
  console.warn(`uring driver not tested: ${probed.uringStep} failed with ${probed.uringError}`)
}

/** Loaded machines and sanitizers are slow; nothing here waits this long when it works. */
const deadlineMs = 10_000

export const options: NativeOptions = {
  arenaBytes: 1 << 20,
  poolBytes: 1 << 20,
  submissionEntries: 64,
  completionEntries: 1024,
  commandCapacity: 512,
  batchSize: 64,
  endpointsMax: 4096,
  gatherUs: 100,
  heapBytesMax: 64 << 20,
  disable: 0,
}

export type OpName = keyof typeof Op
const names = new Map<number, OpName>(
  Object.entries(Op).map(([name, code]) => [code, name as OpName]),
)

export interface Event {
  readonly op: OpName | undefined
  readonly opcode: number
  readonly id: number
  readonly result: number
  readonly extra: number
  readonly more: boolean
  /** What a receive brought, copied at once. */
  readonly bytes: Buffer
  /** Which dispatch call it came with. */
  readonly batch: number
}

interface Waiter {
  readonly matches: (event: Event) => boolean
  readonly resolve: (event: Event) => void
}

/** Rejects when `promise` has not settled in time, naming what was waited for. */
export async function within<T>(what: string, promise: Promise<T>, ms = deadlineMs): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no ${what} within ${ms} ms`)), ms)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

export class Rig {
  readonly driver: NativeDriver
  readonly events: Event[] = []
  /** Called for every completion, from inside dispatch. */
  onEvent: (event: Event) => void = () => {}
  /** Called with the number of completions at the start of each dispatch. */
  onBatch: (count: number) => void = () => {}
  /** Asked at `index` of the batch, before what is there: an answer other than done is dispatch's. */
  interrupt: (index: number) => number = () => Dispatched.done

  #batch = 0
  #waiters: Waiter[] = []
  #isClosed = false

  constructor(kind: DriverKind, changed: Partial<NativeOptions> = {}) {
    const dispatch = (): number => this.#dispatch()
    const made = binding.createDriver(kind, { ...options, ...changed }, dispatch)
    if (typeof made === 'number') throw new Error(`createDriver(${kind}) returned ${made}`)
    this.driver = made
    made.setRef(true)
  }

  command(op: OpName | number, id: number, a = 0, b = 0): void {
    const commands = this.driver.commands
    const at = COMMAND_HEADER_WORDS + commands[0]! * COMMAND_WORDS
    if (at + COMMAND_WORDS > commands.length) {
      this.driver.submit()
      return this.command(op, id, a, b)
    }
    commands.set([typeof op === 'number' ? op : Op[op], id, a, b], at)
    commands[0]!++
  }

  /** Copies bytes into the arena and queues their send. */
  send(id: number, bytes: Uint8Array, offset = 0): void {
    this.driver.arena.set(bytes, offset)
    this.command('send', id, offset, bytes.length)
  }

  /** The first matching completion, past or to come. */
  event(what: string, matches: (event: Event) => boolean): Promise<Event> {
    const past = this.events.find(matches)
    if (past) return Promise.resolve(past)
    return within(what, new Promise((resolve) => this.#waiters.push({ matches, resolve })))
  }

  /** The first completion of that kind for that endpoint. */
  completion(op: OpName, id: number): Promise<Event> {
    return this.event(`${op} completion`, (event) => event.op === op && event.id === id)
  }

  /** The completion that ends the operation. */
  last(op: OpName, id: number): Promise<Event> {
    return this.event(
      `last ${op} completion`,
      (event) => event.op === op && event.id === id && !event.more,
    )
  }

  of(op: OpName, id: number): Event[] {
    return this.events.filter((event) => event.op === op && event.id === id)
  }

  received(id: number): Buffer {
    return Buffer.concat(this.of('receive', id).map((event) => event.bytes))
  }

  /** Resolves when `condition` holds, looked at after each batch. */
  async until(what: string, condition: () => boolean): Promise<void> {
    if (condition()) return
    await this.event(what, condition)
  }

  /** A listening endpoint on 127.0.0.1 with accept armed. */
  listen(backlog = 511): { id: number; port: number } {
    const id = this.open('inet')
    check('bind', this.driver.bind(id, '127.0.0.1', 0, 0))
    check('listen', this.driver.listen(id, backlog))
    this.command('accept', id)
    return { id, port: this.name(id).port! }
  }

  open(family: 'inet' | 'inet6' | 'unix'): number {
    return check('open', this.driver.open({ inet: 4, inet6: 6, unix: 1 }[family]))
  }

  name(id: number, isPeer = false): Partial<SocketName> {
    const out: Partial<SocketName> = {}
    check('name', this.driver.name(id, isPeer, out))
    return out
  }

  /** A connection accepted by the driver, and the node:net socket at its other end. */
  async pair(receive = true): Promise<{ id: number; peer: net.Socket; listener: number }> {
    const { id: listener, port } = this.listen()
    const peer = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true })
    peer.on('error', () => {})
    const [accepted] = await Promise.all([
      this.completion('accept', listener),
      within('connect', new Promise((resolve) => peer.once('connect', resolve))),
    ])
    check('accept', accepted.result)
    if (receive) this.command('receive', accepted.result)
    return { id: accepted.result, peer, listener }
  }

  close(): number {
    this.#isClosed = true
    return this.driver.close()
  }

  #dispatch(): number {
    const { completions, pool } = this.driver
    const count = completions[0]!
    if (completions[1] === 0) this.onBatch(count)
    const batch = this.#batch++
    for (let index = completions[1]!; index < count; index++) {
      const answer = this.interrupt(index)
      if (answer !== Dispatched.done) return answer
      const at = COMPLETION_HEADER_WORDS + index * COMPLETION_WORDS
      const [head, id, result, extra] = completions.subarray(at, at + COMPLETION_WORDS)
      completions[1] = index + 1
      const opcode = head! & 0xff
      const op = names.get(opcode)
      const isData = op === 'receive' && result! > 0
      const bytes = isData ? Buffer.from(pool.subarray(extra!, extra! + result!)) : Buffer.alloc(0)
      const more = ((head! >> 8) & FLAG_MORE) !== 0
      this.#record({ op, opcode, id: id!, result: result!, extra: extra!, more, bytes, batch })
      if (this.#isClosed) break
    }
    return Dispatched.done
  }

  #record(event: Event): void {
    this.events.push(event)
    const due = this.#waiters.filter((waiter) => waiter.matches(event))
    this.#waiters = this.#waiters.filter((waiter) => !due.includes(waiter))
    for (const waiter of due) waiter.resolve(event)
    this.onEvent(event)
  }
}

/** Fails on -errno. */
export function check(what: string, result: number): number {
  if (result >= 0) return result
  const name = Object.entries(constants.errno).find(([, value]) => value === -result)?.[0]
  throw new Error(`${what}: ${name ?? result}`)
}

/** Everything a socket sends until it ends. */
export function collect(socket: net.Socket): Promise<Buffer> {
  const chunks: Buffer[] = []
  return within(
    'end of stream at the peer',
    new Promise((resolve, reject) => {
      socket.on('data', (chunk) => chunks.push(chunk))
      socket.once('end', () => resolve(Buffer.concat(chunks)))
      socket.once('error', reject)
    }),
  )
}

export function emitted(socket: net.Socket | net.Server, name: string): Promise<unknown> {
  return within(`'${name}'`, new Promise((resolve) => socket.once(name, resolve)))
}

/** Bytes whose every position shows whether it is in its place. */
export function pattern(length: number, seed = 1): Buffer {
  const bytes = Buffer.alloc(length)
  for (let i = 0; i < length; i++) bytes[i] = (i * 31 + (i >> 8) * 7 + (i >> 16) * 13 + seed) & 0xff
  return bytes
}

const rigs: Rig[] = []

/** A rig that is closed after the test, whatever happens. */
export function makeRig(kind: DriverKind, changed: Partial<NativeOptions> = {}): Rig {
  const rig = new Rig(kind, changed)
  rigs.push(rig)
  return rig
}

export function closeRigs(): void {
  for (const rig of rigs.splice(0)) rig.close()
}
