/**
 * The kernel as a script: `DriverBinding` and `NativeDriver` of src/core/binding.ts with no socket and no timing of its own.
 * The test sees every command, and decides what completes, when and how. Owns the model of what is in flight and of whose
 * memory is whose, and holds the TypeScript side to the contract on every command; it never lets a breach pass, and it
 * never repairs one.
 */
import { constants } from 'node:os'
import {
  COMMAND_HEADER_WORDS,
  COMMAND_WORDS,
  COMPLETION_HEADER_WORDS,
  COMPLETION_WORDS,
  CONTRACT_VERSION,
  FLAG_MORE,
  Op,
  SLOT_BITS,
} from '../../src/core/binding'
import type {
  DriverBinding,
  DriverKind,
  NativeDriver,
  NativeOptions,
  NativeStats,
  Probe,
  SocketName,
} from '../../src/core/binding'

/** -errno values by name. */
export const errno = (name: keyof typeof constants.errno): number => -constants.errno[name]

export type OpName = keyof typeof Op

export interface Command {
  readonly op: OpName
  readonly token: number
  readonly id: number
  readonly a: number
  readonly b: number
  readonly c: number
}

/** One completion as it goes into the batch. */
export interface Posted {
  readonly token: number
  readonly result: number
  readonly more?: boolean
  readonly extra?: number
}

/** A part of a send: where it lies, and the bytes that were there when it was submitted. */
interface Piece {
  readonly index: number
  readonly offset: number
  readonly bytes: Buffer
}

interface Operation {
  readonly op: OpName
  readonly token: number
  readonly id: number
  readonly pieces: Piece[]
  isCancelRequested: boolean
  /** The kernel has all of it; only its completion is still to come. */
  isOut: boolean
}

interface Endpoint {
  /** What the peer sees: bytes in order, then perhaps a FIN. */
  readonly wire: Buffer[]
  hasFin: boolean
  isReset: boolean
  /** Receives that brought bytes. */
  receives: number
  /** Of the close; 0 when there is none. */
  closeToken: number
  name: SocketName | undefined
}

const opNames = new Map<number, OpName>(
  (Object.keys(Op) as OpName[]).map((name) => [Op[name], name]),
)

const SLOT_MASK = (1 << SLOT_BITS) - 1
const PROVIDED_INDEX_END = 65536
/** Exceptions in a row without a completion delivered, above which dispatch counts as stuck. */
const UNMOVED_MAX = 3

const unscripted = (): never => {
  throw new Error('not on the scripted kernel')
}

export class ScriptedKernel implements DriverBinding, NativeDriver {
  readonly contractVersion = CONTRACT_VERSION
  readonly constants = { features: [] as string[] } as unknown as DriverBinding['constants']
  /** Every command taken so far, in order, but for those that provide buffers and wake. */
  readonly log: Command[] = []
  /** Breaches of the contract by the TypeScript side. Has to stay empty. */
  readonly violations: string[] = []
  /** What dispatch has thrown: what Node would have reported as 'uncaughtException'. */
  readonly uncaught: unknown[] = []
  /** submit calls so far. */
  submits = 0
  /** Dispatch calls so far. */
  dispatches = 0
  isRef = false
  /** How much of `length` bytes offer takes; more than 0 means that the send in flight is out, too. */
  offerTakes: (length: number) => number = () => 0
  /** What these answer when it is not success. */
  readonly refuses: Partial<Record<'open' | 'bind' | 'listen' | 'connect', number>> = {}
  /** What bind and connect were asked for. */
  readonly addresses: string[] = []

  commands = new ArrayBuffer(0)
  completions = new ArrayBuffer(0)

  #commandWords = new Int32Array(0)
  #completionWords = new Int32Array(0)
  #dispatch: () => number = () => 0
  #batchSize = 0
  #receiveBuffers = 0
  readonly #endpoints = new Map<number, Endpoint>()
  readonly #generations: number[] = []
  /** What is in flight, by token. */
  readonly #operations = new Map<number, Operation>()
  /** Pieces of sends that have not been started. */
  readonly #pieces = new Map<number, Piece[]>()
  /** Weak, for native keeps the address only. */
  readonly #memory = new Map<number, WeakRef<ArrayBuffer>>()
  /** Indices of buffers that a receive may pick. */
  readonly #provided: number[] = []
  /** Tokens of wakes that have not completed. */
  #wakes: number[] = []
  /** What woken() took. */
  #untold: string[] = []

  // --- DriverBinding --------------------------------------------------------------------------------------------------

  probe(): Probe {
    throw new Error('the scripted kernel is not probed')
  }

  setBufferBytes(): number {
    return 0
  }

  createDriver(_kind: DriverKind, options: NativeOptions, dispatch: () => number): NativeDriver {
    this.#dispatch = dispatch
    this.#batchSize = options.batchSize
    this.#receiveBuffers = options.receiveBuffers
    const commandWords = COMMAND_HEADER_WORDS + options.commandCapacity * COMMAND_WORDS
    this.#commandWords = new Int32Array(commandWords)
    this.commands = this.#commandWords.buffer
    const completionWords = COMPLETION_HEADER_WORDS + options.batchSize * COMPLETION_WORDS
    this.#completionWords = new Int32Array(completionWords)
    this.completions = this.#completionWords.buffer
    return this
  }

  duplicate(): number {
    throw new Error('nothing of the scripted kernel listens')
  }

  // --- NativeDriver ---------------------------------------------------------------------------------------------------

  submit(): void {
    this.submits++
    this.taken()
  }

  setRef(on: number): void {
    this.isRef = on === 1
  }

  open(): number {
    return this.refuses.open ?? this.endpoint()
  }

  adopt(): number {
    return this.endpoint()
  }

  share(): number {
    return this.endpoint()
  }
  // Files, pipes and datagrams are tested on the real drivers only.
  readonly openFile = unscripted
  readonly receiveNow = unscripted
  readonly openPipe = unscripted
  readonly fillPipe = unscripted
  readonly drainPipe = unscripted
  readonly readPipe = unscripted
  readonly openDatagram = unscripted
  readonly bindDatagram = unscripted
  readonly connectDatagram = unscripted
  readonly sendDatagramNow = unscripted
  readonly membership = unscripted
  readonly multicastInterface = unscripted
  readonly parseAddress = unscripted
  readonly formatAddress = unscripted

  bind(id: number, address: string, port: number): number {
    this.#live(id, 'bind')
    this.addresses.push(`${address} ${port}`)
    return this.refuses.bind ?? 0
  }

  connect(token: number, id: number, address: string, port: number): number {
    const endpoint = this.#live(id, 'connect')
    this.addresses.push(`${address} ${port}`)
    if (this.refuses.connect !== undefined) return this.refuses.connect
    if (endpoint !== undefined) this.#start('connect', token, id, [])
    return 0
  }

  listen(id: number): number {
    this.#live(id, 'listen')
    return this.refuses.listen ?? 0
  }

  name(id: number, _peer: number, out: Partial<SocketName>): number {
    const name = this.#endpoints.get(id)?.name
    if (name !== undefined) Object.assign(out, name)
    return name === undefined ? errno('ENOTCONN') : 0
  }

  fd(id: number): number {
    return this.#endpoints.has(id) ? 100 + (id & SLOT_MASK) : errno('EBADF')
  }

  setOption(id: number): number {
    return this.#live(id, 'setOption') === undefined ? errno('EBADF') : 0
  }

  register(index: number, memory: ArrayBuffer): number {
    if (this.#isKernels(index)) this.#breach(`buffer ${index} was replaced while the kernel had it`)
    if (memory.byteLength === 0) this.#breach(`buffer ${index} is empty memory`)
    this.#memory.set(index, new WeakRef(memory))
    return 0
  }

  unsent(token: number): number {
    const operation = this.#operations.get(token)
    return operation === undefined ? 0 : lengthOf(operation)
  }

  offer(id: number, bytes: Uint8Array): number {
    const endpoint = this.#live(id, 'offer')
    if (endpoint === undefined) return errno('EBADF')
    this.taken()
    if (endpoint.closeToken !== 0) this.#breach('offer after close')
    if (endpoint.hasFin || this.#find(id, 'shutdown')) this.#breach('offer after shutdown')
    const taken = this.offerTakes(bytes.length)
    if (taken <= 0) return taken
    const send = this.#find(id, 'send')
    if (send !== undefined && !send.isOut) {
      endpoint.wire.push(...send.pieces.map((piece) => piece.bytes))
      send.isOut = true
    }
    endpoint.wire.push(Buffer.from(bytes.subarray(0, taken)))
    return taken
  }

  stats(): NativeStats {
    return { endpoints: this.#endpoints.size, features: [] as string[] } as unknown as NativeStats
  }

  close(): number {
    return 0
  }

  // --- the script's side: what the kernel knows -----------------------------------------------------------------------

  /** A new endpoint, as if a descriptor had come from somewhere. Places of closed endpoints are used again. */
  endpoint(): number {
    const used = new Set([...this.#endpoints.keys()].map((id) => id & SLOT_MASK))
    let slot = 0
    while (used.has(slot)) slot++
    const generation = (this.#generations[slot] ?? 0) + 1
    this.#generations[slot] = generation
    const id = (generation << SLOT_BITS) | slot
    this.#endpoints.set(id, {
      wire: [],
      hasFin: false,
      isReset: false,
      receives: 0,
      closeToken: 0,
      name: undefined,
    })
    return id
  }

  /** Endpoints that exist. */
  get endpointCount(): number {
    return this.#endpoints.size
  }

  /** Buffers that a receive may pick. */
  get providedCount(): number {
    this.taken()
    return this.#provided.length
  }

  /** Indices that were ever registered. */
  get registeredCount(): number {
    return this.#memory.size
  }

  /** Commands that are queued and not taken. */
  get queued(): number {
    return this.#commandWords[0]!
  }

  /** What dispatch would deliver next. */
  get cursor(): number {
    return this.#completionWords[1]!
  }

  /** What getsockname and getpeername answer. */
  setName(id: number, name: SocketName): void {
    this.#model(id).name = name
  }

  /** Everything the peer of `id` has been sent. */
  wire(id: number): string {
    return this.wireBytes(id).toString('latin1')
  }

  wireBytes(id: number): Buffer {
    return Buffer.concat(this.#model(id).wire)
  }

  hasFin(id: number): boolean {
    return this.#model(id).hasFin
  }

  isReset(id: number): boolean {
    return this.#model(id).isReset
  }

  isOpen(id: number): boolean {
    return this.#endpoints.has(id)
  }

  isInFlight(id: number, op: OpName): boolean {
    this.taken()
    return this.#find(id, op) !== undefined
  }

  isCancelRequested(id: number, op: OpName): boolean {
    this.taken()
    return this.#find(id, op)?.isCancelRequested ?? false
  }

  /** Lengths of the parts of the send in flight. */
  sendLengths(id: number): number[] {
    this.taken()
    return this.#find(id, 'send')?.pieces.map(({ bytes }) => bytes.length) ?? []
  }

  isClosing(id: number): boolean {
    this.taken()
    return (this.#endpoints.get(id)?.closeToken ?? 0) !== 0
  }

  /**
   * Takes the queued commands, as every loop turn does; returns them as words to compare with. Those that provide buffers
   * and wake are not returned.
   */
  taken(): string[] {
    const told = [...this.#untold, ...this.#take()]
    this.#untold = []
    return told
  }

  /** Commands of one kind for `id` taken so far. */
  count(id: number, op: OpName): number {
    this.taken()
    return this.log.filter((command) => command.id === id && command.op === op).length
  }

  /** Throws when the contract was broken. */
  assertClean(): void {
    if (this.violations.length > 0) throw new Error(this.violations.join('\n'))
  }

  /**
   * Until the returned function is called, wakes complete by themselves in every turn of Node's loop, as they would. For
   * tests that await what follows from them.
   */
  wakeByItself(): () => void {
    let turn: NodeJS.Immediate
    const next = (): void => {
      this.wake()
      turn = setImmediate(next)
    }
    turn = setImmediate(next)
    return () => clearImmediate(turn)
  }

  // --- the script's side: what the kernel does ------------------------------------------------------------------------

  /** The receive gets bytes, in one of the buffers that were provided. */
  received(id: number, bytes: Uint8Array | string, more = true): Posted {
    const { token } = this.#operation(id, 'receive', !more)
    const extra = this.#provided.shift()
    if (extra === undefined) throw new Error('script: no buffer is provided')
    const chunk = typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes
    const memory = this.#bytesAt(extra, 'a buffer that was provided')
    if (memory !== undefined) memory.set(chunk)
    this.#model(id).receives++
    return { token, result: chunk.length, more, extra }
  }

  /** The receive's last completion: 0 or -errno. */
  receiveEnded(id: number, result: number): Posted {
    return this.#ended(id, 'receive', result)
  }

  /** The send completes: all of it, or with -errno after `taken` bytes. */
  sent(id: number, result?: number, taken = 0): Posted {
    const operation = this.#operation(id, 'send', true)
    for (const { index, offset, bytes } of operation.pieces) {
      const now = this.#bytesAt(index, 'memory of a send in flight')
      if (now !== undefined && !bytes.equals(now.subarray(offset, offset + bytes.length))) {
        this.#breach(`bytes of buffer ${index} changed while a send named them`)
      }
    }
    const { token } = operation
    const length = lengthOf(operation)
    if (operation.isOut) return { token, result: length }
    const all = Buffer.concat(operation.pieces.map(({ bytes }) => bytes))
    this.#model(id).wire.push(all.subarray(0, result === undefined ? length : taken))
    return { token, result: result ?? length, extra: taken }
  }

  shutDown(id: number, result = 0): Posted {
    const posted = this.#ended(id, 'shutdown', result)
    if (result === 0) this.#model(id).hasFin = true
    return posted
  }

  connected(id: number, result = 0): Posted {
    return this.#ended(id, 'connect', result)
  }

  /** A connection arrives on a listening endpoint; the new endpoint's id is the result. */
  accepted(id: number, more = true): Posted {
    const { token } = this.#operation(id, 'accept', !more)
    return { token, result: this.endpoint(), more }
  }

  /** The accept's last completion: -errno. */
  acceptEnded(id: number, result: number): Posted {
    return this.#ended(id, 'accept', result)
  }

  /** What close comes to: every operation in flight ends, then the one closed completion. */
  closed(id: number): Posted[] {
    this.taken()
    const { closeToken } = this.#model(id)
    if (closeToken === 0) throw new Error('script: closed() without a close command')
    const left = [...this.#operations.values()].filter((operation) => operation.id === id)
    const posted = left.map(({ op }) =>
      op === 'send' ? this.sent(id, errno('ECANCELED')) : this.#ended(id, op, errno('ECANCELED')),
    )
    this.#endpoints.delete(id)
    return [...posted, { token: closeToken, result: 0 }]
  }

  /** The completions of the wakes that are due. Other commands stay, for the test to look at. */
  woken(): Posted[] {
    this.#untold.push(...this.#take())
    const tokens = this.#wakes
    this.#wakes = []
    return tokens.map((token) => ({ token, result: 0 }))
  }

  /** One turn of the loop with nothing but wakes: those that were due when it began. */
  wake(): void {
    this.deliver(this.woken())
  }

  /** Turns until no wake is due. */
  wakeAll(): void {
    for (let due = this.woken(); due.length > 0; due = this.woken()) this.deliver(due)
  }

  /** Delivers completions as native does: in batches, going on after an exception. */
  deliver(...posted: (Posted | Posted[])[]): void {
    const all = posted.flat()
    for (let from = 0; from < all.length; from += this.#batchSize) {
      this.#deliverBatch(all.slice(from, from + this.#batchSize))
    }
  }

  #deliverBatch(batch: readonly Posted[]): void {
    const words = this.#completionWords
    batch.forEach(({ token, result, more = false, extra = 0 }, index) => {
      const at = COMPLETION_HEADER_WORDS + index * COMPLETION_WORDS
      words.set([token, result, more ? FLAG_MORE : 0, extra], at)
    })
    words[0] = batch.length
    words[1] = 0
    for (let unmoved = 0; unmoved < UNMOVED_MAX;) {
      const before = words[1]!
      this.dispatches++
      try {
        this.#dispatch()
        if (words[1]! < batch.length) this.#breach('dispatch is done with completions left')
        return
      } catch (error) {
        this.uncaught.push(error)
        unmoved = words[1]! > before ? 0 : unmoved + 1
      }
    }
    this.#breach('dispatch throws without moving the cursor')
  }

  // --- the contract ---------------------------------------------------------------------------------------------------

  #take(): string[] {
    const words = this.#commandWords
    const count = words[0]!
    words[0] = 0
    const told: string[] = []
    for (let i = 0; i < count; i++) {
      const at = COMMAND_HEADER_WORDS + i * COMMAND_WORDS
      const [opcode, token, id, a, b, c] = [...words.subarray(at, at + COMMAND_WORDS)] as [
        ...[number, number, number, number, number, number],
      ]
      const op = opNames.get(opcode)
      if (op === undefined) {
        this.#breach(`opcode ${opcode} is unknown`)
      } else if (op === 'wake') {
        this.#claim(token)
        this.#wakes.push(token)
      } else if (op === 'provide') {
        this.#takeProvide(a)
      } else {
        const command = { op, token, id, a, b, c }
        const what = op === 'cancel' ? `cancel ${this.#operations.get(token)?.op}` : op
        this.log.push(command)
        told.push(what)
        this.#takeOne(command)
      }
    }
    return told
  }

  #takeProvide(index: number): void {
    if (index < 0 || index >= PROVIDED_INDEX_END) this.#breach(`buffer ${index} cannot be provided`)
    if (this.#isKernels(index)) this.#breach(`buffer ${index} was provided while the kernel had it`)
    this.#bytesAt(index, 'a buffer to provide')
    this.#provided.push(index)
    if (this.#provided.length > this.#receiveBuffers) this.#breach('too many buffers are provided')
  }

  #takeOne(command: Command): void {
    const { op, token, id } = command
    if (op === 'cancel') {
      const operation = this.#operations.get(token)
      if (operation !== undefined) operation.isCancelRequested = true
      return
    }
    if (op === 'piece') {
      const piece = this.#piece(command)
      if (piece !== undefined) this.#pieces.set(token, [...(this.#pieces.get(token) ?? []), piece])
      return
    }
    const endpoint = this.#live(id, op)
    if (endpoint === undefined) return
    if (endpoint.closeToken !== 0) {
      this.#breach(`${op} after close`)
      return
    }
    if (op === 'close') {
      this.#claim(token)
      endpoint.closeToken = token
      endpoint.isReset = command.a === 1 || endpoint.receives > command.b
      return
    }
    if (op === 'send' || op === 'shutdown') {
      if (endpoint.hasFin || this.#find(id, 'shutdown')) this.#breach(`${op} after shutdown`)
      if (this.#find(id, 'send')) this.#breach(`${op} while a send is in flight`)
    }
    const pieces = this.#pieces.get(token) ?? []
    this.#pieces.delete(token)
    if (op === 'send') {
      const piece = this.#piece(command)
      if (piece !== undefined) pieces.push(piece)
    }
    this.#start(op, token, id, pieces)
  }

  #piece({ op, a: index, b: offset, c: length }: Command): Piece | undefined {
    if (this.#isKernels(index))
      this.#breach(`${op} of buffer ${index}, which the kernel has already`)
    const memory = this.#bytesAt(index, `memory of a ${op}`)
    if (memory === undefined) return undefined
    if (length < 1 || offset < 0 || offset + length > memory.length) {
      this.#breach(`${op} of ${length} bytes at ${offset} of ${memory.length}`)
      return undefined
    }
    return { index, offset, bytes: Buffer.from(memory.subarray(offset, offset + length)) }
  }

  #start(op: OpName, token: number, id: number, pieces: Piece[]): void {
    this.#claim(token)
    if (this.#find(id, op)) this.#breach(`a second ${op} in flight`)
    const operation = { op, token, id, pieces, isCancelRequested: false, isOut: false }
    this.#operations.set(token, operation)
  }

  #claim(token: number): void {
    const isUsed =
      this.#operations.has(token) ||
      this.#wakes.includes(token) ||
      [...this.#endpoints.values()].some(({ closeToken }) => closeToken === token)
    if (isUsed || token < 1) this.#breach(`token ${token} is none, or in use`)
  }

  /** Whether a receive may write there, or a send reads from it. */
  #isKernels(index: number): boolean {
    if (this.#provided.includes(index)) return true
    const sends = [...this.#operations.values()].map(({ pieces }) => pieces)
    return [...sends, ...this.#pieces.values()].flat().some((piece) => piece.index === index)
  }

  /** The memory itself, which has to be there. */
  #bytesAt(index: number, what: string): Uint8Array | undefined {
    const memory = this.#memory.get(index)
    if (memory === undefined) {
      this.#breach(`${what} was never registered (${index})`)
      return undefined
    }
    const buffer = memory.deref()
    if (buffer === undefined || buffer.byteLength === 0) {
      this.#breach(`${what} is gone (${index})`)
      return undefined
    }
    return new Uint8Array(buffer)
  }

  #live(id: number, what: string): Endpoint | undefined {
    const endpoint = this.#endpoints.get(id)
    if (endpoint === undefined) this.#breach(`${what} for id ${id}, which is closed or never was`)
    return endpoint
  }

  #breach(what: string): void {
    this.violations.push(`contract: ${what}`)
  }

  #model(id: number): Endpoint {
    const endpoint = this.#endpoints.get(id)
    if (endpoint === undefined) throw new Error(`script: no endpoint ${id}`)
    return endpoint
  }

  #find(id: number, op: OpName): Operation | undefined {
    return [...this.#operations.values()].find((each) => each.id === id && each.op === op)
  }

  /** The operation a completion is for; the script may only complete what is in flight. */
  #operation(id: number, op: OpName, isLast: boolean): Operation {
    this.taken()
    const operation = this.#find(id, op)
    if (operation === undefined) throw new Error(`script: no ${op} is in flight on ${id}`)
    if (isLast) this.#operations.delete(operation.token)
    return operation
  }

  #ended(id: number, op: OpName, result: number): Posted {
    const { token } = this.#operation(id, op, true)
    return { token, result, extra: -1 }
  }
}

function lengthOf({ pieces }: Operation): number {
  return pieces.reduce((sum, { bytes }) => sum + bytes.length, 0)
}
