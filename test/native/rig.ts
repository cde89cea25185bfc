/**
 * One native driver with its completions recorded, for tests of the raw contract. Owns the driver, the memory that it
 * names, a node:net peer's plumbing and every deadline. Its only opinion is the contract's: every operation completes once,
 * and the close of an endpoint is the last of its completions. Whatever breaks that fails the test when the rig is closed.
 */
import { createHash } from 'node:crypto'
import { readdirSync } from 'node:fs'
import { constants } from 'node:os'
import * as net from 'node:net'
import { join } from 'node:path'
import {
  COMMAND_HEADER_WORDS,
  COMMAND_WORDS,
  COMPLETION_HEADER_WORDS,
  COMPLETION_WORDS,
  FLAG_MORE,
  Family,
  Op,
  loadBinding,
} from '../../src/core/binding'
import { within } from '../deadlines'
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

export const options: NativeOptions = {
  poolBytes: 1 << 20,
  submissionEntries: 64,
  completionEntries: 1024,
  commandCapacity: 512,
  batchSize: 64,
  endpointsMax: 4096,
  receiveBuffers: 64,
  gatherUs: 100,
  disable: 0,
}

/** More than the kernel takes of a send to a peer that does not read. */
export const blockedBytes = 16 << 20

export type OpName = keyof typeof Op

export interface Event {
  readonly op: OpName
  readonly token: number
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

/** An operation in flight. */
interface Started {
  readonly op: OpName
  readonly id: number
  /** Indices of memory that is its own, free again with it. */
  readonly lent: number[]
  /** Where a receive into memory puts its bytes. */
  readonly into: Buffer | undefined
  /** Its endpoint was closed before it was taken: it can only be refused. */
  isLate: boolean
}

/** Buffers for receives that a rig starts with: their number and their size. */
export interface Provided {
  readonly count: number
  readonly bytes: number
}

/** Indices above those that can be provided. */
const firstLentIndex = 65536

export class Rig {
  readonly driver: NativeDriver
  readonly events: Event[] = []
  /** What broke the contract. */
  readonly violations: string[] = []
  /** Buffers that receives have brought and that were not provided again; only with `keepsBuffers`. */
  readonly kept: { index: number; length: number }[] = []
  /** Whether buffers that receives have brought stay here instead of being provided again at once. */
  keepsBuffers = false
  /** Called for every completion, from inside dispatch. */
  onEvent: (event: Event) => void = () => {}
  /** Called with the number of completions at the start of each dispatch. */
  onBatch: (count: number) => void = () => {}

  readonly #commands: Int32Array
  readonly #completions: Int32Array
  readonly #capacity: number
  readonly #memory = new Map<number, ArrayBuffer>()
  readonly #freeIndices: number[] = []
  #nextIndex = firstLentIndex
  readonly #started = new Map<number, Started>()
  readonly #tokensOf = new Map<number, Set<number>>()
  readonly #freeTokens: number[] = []
  #nextToken = 1
  readonly #delivered = new Map<number, number>()
  #batch = 0
  #waiters: Waiter[] = []
  #ended: number | undefined

  constructor(kind: DriverKind, changed: Partial<NativeOptions>, provided: Provided) {
    const all = { ...options, ...changed }
    const made = binding.createDriver(kind, all, () => this.#dispatch())
    if (typeof made === 'number') throw new Error(`createDriver(${kind}) returned ${made}`)
    this.driver = made
    this.#commands = new Int32Array(made.commands)
    this.#completions = new Int32Array(made.completions)
    this.#capacity = all.commandCapacity
    made.setRef(1)
    for (let index = 0; index < provided.count; index++) {
      this.register(index, new ArrayBuffer(provided.bytes))
      this.provide(index)
    }
  }

  // --- memory ---------------------------------------------------------------------------------

  /** Registers memory under an index of the test's choice. */
  register(index: number, memory: ArrayBuffer): void {
    check('register', this.driver.register(index, memory))
    this.#memory.set(index, memory)
  }

  /** Memory under an index of the rig's choice. */
  lend(memory: ArrayBuffer): number {
    const index = this.#freeIndices.pop() ?? this.#nextIndex++
    this.register(index, memory)
    return index
  }

  memory(index: number): Buffer {
    return Buffer.from(this.#memory.get(index)!)
  }

  /** Gives the receives a buffer that is registered. */
  provide(index: number): void {
    this.queue('provide', 0, 0, index)
  }

  /** Provides the buffers that were kept. */
  provideKept(): void {
    for (const { index } of this.kept.splice(0)) this.provide(index)
  }

  // --- commands -------------------------------------------------------------------------------

  /** Queues a command as it is. */
  queue(op: OpName | number, token: number, id: number, a = 0, b = 0, c = 0, d = 0): void {
    if (this.#commands[0] === this.#capacity) this.driver.submit()
    const at = COMMAND_HEADER_WORDS + this.#commands[0]! * COMMAND_WORDS
    this.#commands.set([typeof op === 'number' ? op : Op[op], token, id, a, b, c, d], at)
    this.#commands[0]!++
  }

  #begin(op: OpName, id: number, lent: number[] = [], into?: Buffer): number {
    const token = this.#freeTokens.pop() ?? this.#nextToken++
    this.#started.set(token, { op, id, lent, into, isLate: false })
    const tokens = this.#tokensOf.get(id)
    if (tokens === undefined) this.#tokensOf.set(id, new Set([token]))
    else tokens.add(token)
    return token
  }

  /** Queues the start of an operation. Its token. */
  start(op: OpName, id: number, a = 0, b = 0, c = 0, d = 0): number {
    const token = this.#begin(op, id)
    this.queue(op, token, id, a, b, c, d)
    return token
  }

  /** Sends chunks, each copied into memory of its own, as one send. Its token. */
  send(id: number, ...chunks: Uint8Array[]): number {
    const indices = chunks.map((chunk) => {
      const memory = new ArrayBuffer(chunk.length)
      new Uint8Array(memory).set(chunk)
      return this.lend(memory)
    })
    const token = this.#begin('send', id, indices)
    const last = chunks.length - 1
    chunks.forEach(({ length }, at) => {
      this.queue(at < last ? 'piece' : 'send', token, id, indices[at]!, 0, length)
    })
    return token
  }

  /** Starts a send that a peer who does not read leaves no room for, and lets it come to a halt. Its token. */
  async block(id: number): Promise<number> {
    const token = this.send(id, pattern(blockedBytes))
    let sent: number
    do {
      sent = this.driver.stats().bytesSent
      for (let turns = 0; turns < 3; turns++) await this.turn()
    } while (this.driver.stats().bytesSent > sent)
    return token
  }

  /** Receives into memory of the rig's, until `minimum` bytes are there. Its token. */
  receiveInto(id: number, length: number, minimum = length): number {
    const memory = new ArrayBuffer(length)
    const index = this.lend(memory)
    const token = this.#begin('receiveInto', id, [index], Buffer.from(memory))
    this.queue('receiveInto', token, id, index, 0, length, minimum)
    return token
  }

  /** NativeDriver.connect with a token of the rig's. */
  connect(id: number, address: string, port: number): number {
    const token = this.#begin('connect', id)
    const status = this.driver.connect(token, id, address, port)
    if (status !== 0) this.#forget(token)
    return status
  }

  /** Whether such an operation was started and its last completion was not delivered. */
  isInFlight(op: OpName, id: number): boolean {
    return this.#tokenOf(op, id) !== undefined
  }

  /** The token of that operation, which has to be in flight. */
  token(op: OpName, id: number): number {
    const token = this.#tokenOf(op, id)
    if (token === undefined) throw new Error(`no ${op} is in flight on ${id}`)
    return token
  }

  #tokenOf(op: OpName, id: number): number | undefined {
    const tokens = [...(this.#tokensOf.get(id) ?? [])]
    return tokens.find((token) => this.#started.get(token)!.op === op)
  }

  cancel(op: OpName, id: number): void {
    this.queue('cancel', this.token(op, id), 0)
  }

  /** Receives that brought bytes and were delivered. */
  delivered(id: number): number {
    return this.#delivered.get(id) ?? 0
  }

  /** Queues a close that knows of every receive that was delivered. */
  close(id: number, reset = 0, receives = this.delivered(id)): number {
    return this.start('close', id, reset, receives)
  }

  /** Resolves when the driver has had a turn: what was there before it is dispatched. */
  async turn(): Promise<void> {
    const token = this.start('wake', 0)
    const matches = (event: Event): boolean => event.token === token
    await within('wake', new Promise((resolve) => this.#waiters.push({ matches, resolve })))
  }

  // --- completions ----------------------------------------------------------------------------

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

  /** The kinds of what completed on an endpoint, in order. */
  opsOf(id: number): OpName[] {
    return this.events.filter((event) => event.id === id).map((event) => event.op)
  }

  received(id: number): Buffer {
    return Buffer.concat(this.of('receive', id).map((event) => event.bytes))
  }

  /** Resolves when `condition` holds, looked at after each completion. */
  async until(what: string, condition: () => boolean): Promise<void> {
    if (condition()) return
    await this.event(what, condition)
  }

  // --- endpoints ------------------------------------------------------------------------------

  /** A listening endpoint on 127.0.0.1 with accept armed. */
  listen(backlog = 511): { id: number; port: number } {
    const id = this.open('inet')
    check('bind', this.driver.bind(id, '127.0.0.1', 0, 0))
    check('listen', this.driver.listen(id, backlog))
    this.start('accept', id)
    return { id, port: this.name(id).port! }
  }

  open(family: keyof typeof Family): number {
    return check('open', this.driver.open(Family[family]))
  }

  name(id: number, isPeer = false): Partial<SocketName> {
    const out: Partial<SocketName> = {}
    check('name', this.driver.name(id, isPeer ? 1 : 0, out))
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
    if (receive) this.start('receive', accepted.result)
    return { id: accepted.result, peer, listener }
  }

  /**
   * A connection accepted by the driver whose other end is an endpoint of `other`: read by hand, for node:net takes a reset
   * behind bytes for an end.
   */
  async rawPair(other: Rig): Promise<{ id: number; peer: number }> {
    const { id: listener, port } = this.listen()
    const peer = other.open('inet')
    check('connect', other.connect(peer, '127.0.0.1', port))
    const [accepted] = await Promise.all([
      this.completion('accept', listener),
      other.completion('connect', peer),
    ])
    return { id: check('accept', accepted.result), peer }
  }

  /** Closes the driver. Further calls answer the same. */
  end(): number {
    if (this.#ended !== undefined) return this.#ended
    const { unexpectedCompletions } = this.driver.stats()
    if (unexpectedCompletions > 0)
      this.violations.push(`${unexpectedCompletions} completions of the kernel named no operation`)
    this.#ended = this.driver.close()
    return this.#ended
  }

  #dispatch(): number {
    const completions = this.#completions
    const count = completions[0]!
    if (completions[1] === 0) this.onBatch(count)
    const batch = this.#batch++
    for (let index = completions[1]!; index < count; index++) {
      const at = COMPLETION_HEADER_WORDS + index * COMPLETION_WORDS
      completions[1] = index + 1
      const [token, result, flags, extra] = completions.subarray(at, at + COMPLETION_WORDS)
      this.#complete(token!, result!, (flags! & FLAG_MORE) !== 0, extra!, batch)
      if (this.#ended !== undefined) break
    }
    return 0
  }

  #complete(token: number, result: number, more: boolean, extra: number, batch: number): void {
    const started = this.#started.get(token)
    if (started === undefined) {
      this.violations.push(`token ${token} completed with ${result} and was not in flight`)
      return
    }
    const { op, id, into } = started
    if (started.isLate && result !== errno('EBADF')) {
      this.violations.push(`${op} completed with ${result} after the close of its endpoint`)
    }
    let bytes = Buffer.alloc(0)
    if (op === 'receive' && result > 0) {
      bytes = Buffer.from(this.memory(extra).subarray(0, result))
      this.#delivered.set(id, this.delivered(id) + 1)
      if (this.keepsBuffers) this.kept.push({ index: extra, length: result })
      else this.provide(extra)
    } else if (into !== undefined) {
      bytes = Buffer.from(into.subarray(0, result >= 0 ? result : extra))
    }
    if (!more) this.#forget(token)
    if (op === 'close' && result === 0) {
      for (const late of this.#tokensOf.get(id) ?? []) this.#started.get(late)!.isLate = true
    }
    this.#record({ op, token, id, result, extra, more, bytes, batch })
  }

  #forget(token: number): void {
    const { id, lent } = this.#started.get(token)!
    this.#started.delete(token)
    this.#tokensOf.get(id)!.delete(token)
    for (const index of lent) this.#memory.delete(index)
    this.#freeIndices.push(...lent)
    this.#freeTokens.push(token)
  }

  #record(event: Event): void {
    this.events.push(event)
    this.onEvent(event)
    const due = this.#waiters.filter((waiter) => waiter.matches(event))
    if (due.length > 0) this.#waiters = this.#waiters.filter((waiter) => !due.includes(waiter))
    for (const waiter of due) waiter.resolve(event)
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

/** Resolves when the kernel has the bytes, which a peer on the same machine has then, too. */
export function written(socket: net.Socket, bytes: string | Uint8Array): Promise<void> {
  return within('written', new Promise<void>((resolve) => socket.write(bytes, () => resolve())))
}

/** Bytes whose every position shows whether it is in its place. */
export function pattern(length: number, seed = 1): Buffer {
  const bytes = Buffer.alloc(length)
  for (let i = 0; i < length; i++) bytes[i] = (i * 31 + (i >> 8) * 7 + (i >> 16) * 13 + seed) & 0xff
  return bytes
}

/** For large contents, of which a difference says nothing to anybody. */
export function digest(bytes: Uint8Array): string {
  return `${bytes.length} bytes, ${createHash('sha256').update(bytes).digest('hex')}`
}

/** How many descriptors this process has. */
export const descriptors = (): number => readdirSync('/proc/self/fd').length

const rigs: Rig[] = []

/** A rig that is closed after the test, whatever happens. */
export function makeRig(
  kind: DriverKind,
  changed: Partial<NativeOptions> = {},
  provided: Provided = { count: 16, bytes: 65536 },
): Rig {
  const rig = new Rig(kind, changed, provided)
  rigs.push(rig)
  return rig
}

/** For afterEach: ends every driver, and fails the test when one of them broke the contract. */
export function closeRigs(): void {
  const broken: string[] = []
  for (const rig of rigs.splice(0)) {
    const left = rig.end()
    if (left !== 0) broken.push(`${left} operations would not end`)
    broken.push(...rig.violations)
  }
  if (broken.length > 0) throw new Error(broken.slice(0, 10).join('\n'))
}
