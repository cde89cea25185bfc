/**
 * The kernel as a script: `DriverBinding` and `NativeDriver` of src/core/binding.ts over plain ArrayBuffers, with no socket
 * and no timing of its own. The test sees every command, decides what completes, when, and how falsely. Owns the model
 * of what is in flight and holds the TypeScript side to the contract on every command; it never lets a breach pass, and
 * it never repairs one.
 */
import { constants } from 'node:os'
import {
  COMMAND_HEADER_WORDS,
  COMMAND_WORDS,
  COMPLETION_HEADER_WORDS,
  COMPLETION_WORDS,
  CONTRACT_VERSION,
  CloseHow,
  Dispatched,
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
import type { Arena } from '../../src/core/arena'

/** -errno values by name. */
export const errno = (name: keyof typeof constants.errno): number => -constants.errno[name]

export type OpName = keyof typeof Op

export interface Command {
  readonly op: OpName
  readonly id: number
  readonly a: number
  readonly b: number
}

/** One completion as it goes into the batch. Written by hand it may be any lie; the kernel's model does not see it. */
export interface Posted {
  readonly opcode: number
  readonly id: number
  readonly result: number
  readonly more?: boolean
  readonly extra?: number
}

interface InFlight {
  /** What a send is to put on the wire, as it was at submission. */
  bytes: Buffer
  /** The arena offset of a send; -1 for a heap block and for other operations. */
  offset: number
  isCancelRequested: boolean
  /** The kernel has all of it; only its completion is still to come. */
  isOut?: boolean
}

interface EndpointModel {
  readonly id: number
  readonly inFlight: Map<OpName, InFlight>
  /** What the peer sees: bytes in order, then perhaps a FIN. */
  readonly wire: Buffer[]
  hasFin: boolean
  isClosing: boolean
  isReset: boolean
  name: SocketName | undefined
}

const opNames = new Map<number, OpName>(
  (Object.keys(Op) as OpName[]).map((name) => [Op[name], name]),
)

const SLOT_MASK = (1 << SLOT_BITS) - 1
/** What stands in the receive pool once its bytes are no longer valid. */
const STALE_BYTE = 0xee
/** Times that a batch is put off for what its first completions led to. */
const ROUNDS_BETWEEN = 8
/** Exceptions in a row without a completion delivered, above which dispatch counts as stuck. */
const UNMOVED_MAX = 3

/** Where in its batch native puts a completion: what comes first, the rest, failed sends, closes. */
function rank({ opcode, result }: Posted): number {
  if (opcode === Op.close) return 3
  if (opcode === Op.shutdown || opcode === Op.wake) return 0
  if (opcode !== Op.send) return 1
  return result < 0 && result !== errno('ECANCELED') ? 2 : 0
}

function inNativeOrder(batch: readonly Posted[]): Posted[] {
  return [...batch].sort((a, b) => rank(a) - rank(b))
}

/** How many completions come first in a batch that lies in native's order. */
function firstOf(batch: readonly Posted[]): number {
  const other = batch.findIndex((posted) => rank(posted) > 0)
  return other < 0 ? batch.length : other
}

export class ScriptedKernel implements DriverBinding, NativeDriver {
  readonly contractVersion = CONTRACT_VERSION
  readonly constants = { features: [] as string[] } as unknown as DriverBinding['constants']
  /** Every command taken so far, in order. */
  readonly log: Command[] = []
  /** Breaches of the contract by the TypeScript side. Has to stay empty. */
  readonly violations: string[] = []
  /** What dispatch has thrown: what Node would have reported as 'uncaughtException'. */
  readonly uncaught: unknown[] = []
  /** submit calls so far. */
  submits = 0
  /** Dispatch calls so far. */
  dispatches = 0
  /** Wakes that were commanded and have not completed. */
  #wakes = 0
  /** What take() took. */
  #untold: string[] = []
  /** What the commands completed at once that dispatch wanted to go before the rest of its batch. */
  completesBetween: () => Posted[] = () => []
  isRef = false
  /** How much of `length` bytes sendNow takes at once, or -errno. By itself small sends are left in flight, for tests to end. */
  sendNowTakes: (length: number) => number = (length) => (length > 65536 ? length : 0)
  unsent(id: number): number {
    return this.#live(id, 'unsent') === undefined ? errno('EBADF') : 0
  }

  /** How much of `length` bytes offer takes; more than 0 means that the send in flight is out, too. */
  offerTakes: (length: number) => number = () => 0
  sendNowCalls = 0
  /** How much of `length` bytes sendBlock takes at once, or -errno. The rest is in flight. */
  sendBlockTakes: (length: number) => number = () => 0
  /** What open, bind, listen and connect answer when it is not success. */
  readonly refuses: Partial<Record<'open' | 'bind' | 'listen' | 'connect', number>> = {}
  /** What bind and connect were asked for. */
  readonly addresses: string[] = []

  commands = new Int32Array(0)
  completions = new Int32Array(0)
  arena: Uint8Array = new Uint8Array(0)
  pool: Uint8Array = new Uint8Array(0)

  #dispatch: () => number = () => Dispatched.done
  #batchSize = 0
  #poolUsed = 0
  #turn = 0
  #endpoints = new Map<number, EndpointModel>()
  #generations: number[] = []
  /** Weak, as memory of native's: who drops a view is not known here. */
  #views = new WeakMap<ArrayBuffer, number>()

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
    this.commands = new Int32Array(COMMAND_HEADER_WORDS + options.commandCapacity * COMMAND_WORDS)
    this.completions = new Int32Array(
      COMPLETION_HEADER_WORDS + options.batchSize * COMPLETION_WORDS,
    )
    this.arena = new Uint8Array(options.arenaBytes)
    this.pool = new Uint8Array(options.poolBytes)
    return this
  }

  // --- NativeDriver ---------------------------------------------------------------------------------------------

  submit(): void {
    this.submits++
    this.taken()
  }

  /** As submit; what it takes is told by the next taken(). */
  take(): void {
    this.#untold = this.taken()
  }

  setRef(on: boolean): void {
    this.isRef = on
  }

  open(): number {
    return this.refuses.open ?? this.endpoint()
  }

  bind(id: number, address: string, port: number): number {
    this.#live(id, 'bind')
    this.addresses.push(`${address} ${port}`)
    return this.refuses.bind ?? 0
  }

  connect(id: number, address: string, port: number): number {
    const endpoint = this.#live(id, 'connect')
    this.addresses.push(`${address} ${port}`)
    if (this.refuses.connect !== undefined) return this.refuses.connect
    if (endpoint !== undefined) this.#start(endpoint, 'connect', Buffer.alloc(0), -1)
    return 0
  }

  listen(id: number): number {
    this.#live(id, 'listen')
    return this.refuses.listen ?? 0
  }

  name(id: number, _peer: boolean, out: Partial<SocketName>): number {
    const name = this.#endpoints.get(id)?.name
    if (name !== undefined) Object.assign(out, name)
    return name === undefined ? errno('ENOTCONN') : 0
  }

  fd(id: number): number {
    return this.#endpoints.has(id) ? 100 + (id & SLOT_MASK) : errno('EBADF')
  }

  sendNow(id: number, bytes: Uint8Array | readonly Uint8Array[]): number {
    this.sendNowCalls++
    const endpoint = this.#live(id, 'sendNow')
    if (endpoint === undefined) return errno('EBADF')
    // A queued send has to be ahead of these bytes, so that sendNow's refusal depends on it too.
    this.taken()
    if (endpoint.inFlight.has('send')) {
      this.#breach('sendNow while a send is in flight')
      return errno('EALREADY')
    }
    if (endpoint.hasFin || endpoint.inFlight.has('shutdown')) this.#breach('sendNow after shutdown')
    const copy = Buffer.concat('byteLength' in bytes ? [bytes] : bytes)
    const { length } = copy
    const taken = this.sendNowTakes(length)
    if (taken < 0) return taken
    endpoint.wire.push(copy.subarray(0, taken))
    if (taken < length) this.#start(endpoint, 'send', copy.subarray(taken), -1)
    return taken
  }

  sendBlock(id: number, offset: number, length: number): number {
    const endpoint = this.#live(id, 'sendBlock')
    if (endpoint === undefined) return errno('EBADF')
    this.taken()
    const taken = this.sendBlockTakes(length)
    if (taken >= 0) {
      endpoint.wire.push(Buffer.from(this.arena.subarray(offset, offset + taken)))
      if (taken < length) this.#takeSend(endpoint, offset + taken, length - taken)
    }
    return taken
  }

  offer(id: number, bytes: Uint8Array): number {
    const endpoint = this.#live(id, 'offer')
    if (endpoint === undefined) return errno('EBADF')
    this.taken()
    if (endpoint.isClosing) this.#breach('offer after close')
    if (endpoint.hasFin || endpoint.inFlight.has('shutdown')) this.#breach('offer after shutdown')
    const taken = this.offerTakes(bytes.length)
    if (taken <= 0) return taken
    const send = endpoint.inFlight.get('send')
    if (send !== undefined && !send.isOut) {
      endpoint.wire.push(send.bytes)
      send.isOut = true
    }
    endpoint.wire.push(Buffer.from(bytes.subarray(0, taken)))
    return taken
  }

  /**
   * Two ArrayBuffers cannot share memory here, so a view is a copy that detach() writes back: the same to a lease, which
   * looks at its bytes through views only.
   */
  view(offset: number, length: number): ArrayBuffer {
    const view = new ArrayBuffer(length)
    new Uint8Array(view).set(this.arena.subarray(offset, offset + length))
    this.#views.set(view, offset)
    return view
  }

  detach(view: ArrayBuffer): void {
    const offset = this.#views.get(view)
    if (offset === undefined) {
      this.#breach('detach of a buffer that view() did not make, or twice')
      return
    }
    this.#views.delete(view)
    this.arena.set(new Uint8Array(view), offset)
    structuredClone(view, { transfer: [view] })
  }

  stats(): NativeStats {
    return {
      endpoints: this.#endpoints.size,
      inFlight: 0,
      submissions: 0,
      completions: 0,
      batches: this.dispatches,
      enters: 0,
      bytesReceived: 0,
      bytesSent: 0,
      poolExhausted: 0,
      overflows: 0,
      heapBytes: 0,
      submissionEntries: 0,
      completionEntries: 0,
      features: [],
    }
  }

  close(): number {
    return 0
  }

  // --- the script's side: what the kernel knows -----------------------------------------------------------------

  /** A new endpoint, as if a descriptor had come from somewhere. Slots of closed endpoints are used again. */
  endpoint(): number {
    const used = new Set([...this.#endpoints.keys()].map((id) => id & SLOT_MASK))
    let slot = 0
    while (used.has(slot)) slot++
    const generation = (this.#generations[slot] ?? 0) + 1
    this.#generations[slot] = generation
    const id = (generation << SLOT_BITS) | slot
    const inFlight = new Map<OpName, InFlight>()
    this.#endpoints.set(id, {
      id,
      inFlight,
      wire: [],
      hasFin: false,
      isClosing: false,
      isReset: false,
      name: undefined,
    })
    return id
  }

  /** Endpoints that exist. */
  get endpointCount(): number {
    return this.#endpoints.size
  }

  /** What getsockname and getpeername answer. */
  setName(id: number, name: SocketName): void {
    this.#model(id).name = name
  }

  /** Everything the peer of `id` has been sent. */
  wire(id: number): string {
    return Buffer.concat(this.#model(id).wire).toString('latin1')
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
    return this.#endpoints.get(id)?.inFlight.has(op) ?? false
  }

  isCancelRequested(id: number, op: OpName): boolean {
    this.taken()
    return this.#endpoints.get(id)?.inFlight.get(op)?.isCancelRequested ?? false
  }

  /** Bytes of the send in flight. */
  sendLength(id: number): number {
    this.taken()
    return this.#model(id).inFlight.get('send')?.bytes.length ?? 0
  }

  isClosing(id: number): boolean {
    this.taken()
    return this.#endpoints.get(id)?.isClosing ?? false
  }

  /**
   * Takes the queued commands, as every loop turn does; returns them as words to compare with. Wakes are for nobody's
   * endpoint: they are counted, and neither returned nor logged.
   */
  taken(): string[] {
    const count = this.commands[0]!
    this.commands[0] = 0
    const taken = this.#untold
    this.#untold = []
    for (let i = 0; i < count; i++) {
      const at = COMMAND_HEADER_WORDS + i * COMMAND_WORDS
      const [opcode, id, a, b] = this.commands.subarray(at, at + COMMAND_WORDS) as unknown as [
        number,
        number,
        number,
        number,
      ]
      const op = opNames.get(opcode)
      if (op === undefined) {
        this.#breach(`opcode ${opcode} is unknown`)
        continue
      }
      if (op === 'wake') {
        this.#takeWake(id)
        continue
      }
      const command = { op, id, a, b }
      this.log.push(command)
      taken.push(op === 'cancel' ? `cancel ${opNames.get(a)}` : op)
      this.#takeOne(command)
    }
    return taken
  }

  /** Commands of one kind for `id` taken so far. */
  count(id: number, op: OpName): number {
    this.taken()
    return this.log.filter((command) => command.id === id && command.op === op).length
  }

  /** Watches the book-keeping of the arena: a block that a send names may not be released. */
  guard(arena: Arena): void {
    const release = arena.release.bind(arena)
    arena.release = (offset) => {
      if (this.#sendsNaming(offset))
        this.#breach('an arena block was released while a send named it')
      release(offset)
    }
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

  // --- the script's side: what the kernel does ------------------------------------------------------------------

  /** The receive gets bytes. They lie in the pool until the next deliver() is over. */
  received(id: number, bytes: Uint8Array | string, more = true): Posted {
    this.#operation(id, 'receive', !more)
    const chunk = typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes
    const extra = this.#poolUsed
    this.pool.set(chunk, extra)
    this.#poolUsed += chunk.length
    return { opcode: Op.receive, id, result: chunk.length, more, extra }
  }

  /** The receive's last completion: 0 or -errno. */
  receiveEnded(id: number, result: number): Posted {
    this.#operation(id, 'receive', true)
    return { opcode: Op.receive, id, result }
  }

  /** The send completes: all of it, or after `taken` bytes with `result`. */
  sent(id: number, result?: number, taken = 0): Posted {
    const { bytes, offset, isOut } = this.#operation(id, 'send', true)
    if (offset >= 0 && bytes.compare(this.arena.subarray(offset, offset + bytes.length)) !== 0) {
      this.#breach('bytes changed in the arena while a send named them')
    }
    if (isOut) return { opcode: Op.send, id, result: bytes.length }
    const isWhole = result === undefined
    const count = isWhole ? bytes.length : result > 0 ? result : taken
    this.#model(id).wire.push(bytes.subarray(0, count))
    return { opcode: Op.send, id, result: result ?? bytes.length, extra: isWhole ? 0 : taken }
  }

  shutDown(id: number, result = 0): Posted {
    this.#operation(id, 'shutdown', true)
    if (result === 0) this.#model(id).hasFin = true
    return { opcode: Op.shutdown, id, result }
  }

  connected(id: number, result = 0): Posted {
    this.#operation(id, 'connect', true)
    return { opcode: Op.connect, id, result }
  }

  /** A connection arrives on a listening endpoint; the new endpoint's id is the result. */
  accepted(id: number, more = true): Posted {
    this.#operation(id, 'accept', !more)
    return { opcode: Op.accept, id, result: this.endpoint(), more }
  }

  /** The accept's last completion: -errno. */
  acceptEnded(id: number, result: number): Posted {
    this.#operation(id, 'accept', true)
    return { opcode: Op.accept, id, result }
  }

  /** What close comes to: every operation in flight ends, then the one closed completion. */
  closed(id: number): Posted[] {
    this.taken()
    const endpoint = this.#model(id)
    if (!endpoint.isClosing) throw new Error('script: closed() without a close command')
    const posted = [...endpoint.inFlight.keys()].map((op) =>
      op === 'send'
        ? this.sent(id, errno('ECANCELED'))
        : (this.#operation(id, op, true), { opcode: Op[op], id, result: errno('ECANCELED') }),
    )
    return [...posted, this.onlyClosed(id)]
  }

  /** The closed completion alone: a kernel that forgot the others. */
  onlyClosed(id: number): Posted {
    this.taken()
    if (!this.#model(id).isClosing) throw new Error('script: closed without a close command')
    this.#endpoints.delete(id)
    return { opcode: Op.close, id, result: 0 }
  }

  /** The completions of the wakes that are due. Other commands stay queued, for the test to look at. */
  woken(): Posted[] {
    const { commands } = this
    let left = 0
    for (let i = 0; i < commands[0]!; i++) {
      const at = COMMAND_HEADER_WORDS + i * COMMAND_WORDS
      if (commands[at] === Op.wake) {
        this.#takeWake(commands[at + 1]!)
      } else {
        const to = COMMAND_HEADER_WORDS + left++ * COMMAND_WORDS
        commands.copyWithin(to, at, at + COMMAND_WORDS)
      }
    }
    commands[0] = left
    return this.#dueWakes()
  }

  #dueWakes(most = Infinity): Posted[] {
    const length = Math.max(0, Math.min(this.#wakes, most))
    this.#wakes -= length
    return Array.from({ length }, () => ({ opcode: Op.wake, id: 0, result: 0 }))
  }

  /** One turn of the loop with nothing but wakes: those that were due when it began. */
  wake(): void {
    this.deliver(this.woken())
  }

  /** Turns until no wake is due. */
  wakeAll(): void {
    for (let due = this.woken(); due.length > 0; due = this.woken()) this.deliver(due)
  }

  /**
   * Delivers completions as native does: in batches, each in native's order, going on after an exception. Each call is a
   * turn of the loop.
   */
  deliver(...posted: (Posted | Posted[])[]): void {
    this.#deliver(posted.flat(), inNativeOrder)
  }

  /** Delivers completions in just this order. */
  deliverAsIs(posted: readonly Posted[]): void {
    this.#deliver(posted, (batch) => [...batch])
  }

  #deliver(posted: readonly Posted[], order: (batch: readonly Posted[]) => Posted[]): void {
    this.#turn++
    for (let from = 0; from < posted.length; from += this.#batchSize) {
      this.#deliverBatch(order(posted.slice(from, from + this.#batchSize)))
    }
    this.pool.fill(STALE_BYTE, 0, this.#poolUsed)
    this.#poolUsed = 0
  }

  #seal(batch: readonly Posted[], mayReturn: boolean): void {
    const { completions } = this
    batch.forEach(({ opcode, id, result, more = false, extra = 0 }, index) => {
      const words = [opcode | ((more ? FLAG_MORE : 0) << 8), id, result, extra]
      completions.set(words, COMPLETION_HEADER_WORDS + index * COMPLETION_WORDS)
    })
    completions[0] = batch.length
    completions[1] = 0
    completions[2] = mayReturn ? firstOf(batch) : 0
    completions[3] = this.#turn
  }

  #deliverBatch(batch: readonly Posted[]): void {
    let rounds = ROUNDS_BETWEEN
    this.#seal(batch, true)
    for (;;) {
      const answer = this.#callDispatch(batch.length)
      if (answer !== Dispatched.submit) return
      const left = this.#between(batch)
      if (left === undefined) return
      batch = left
      this.#seal(batch, --rounds > 0)
    }
  }

  /** Calls dispatch until it returns. Undefined: it would not. */
  #callDispatch(count: number): number | undefined {
    const { completions } = this
    for (let unmoved = 0; unmoved < UNMOVED_MAX;) {
      const before = completions[1]!
      this.dispatches++
      try {
        const answer = this.#dispatch()
        if (answer === Dispatched.done && completions[1]! < count) {
          this.#breach('dispatch is done with completions left')
          return undefined
        }
        return answer
      } catch (error) {
        this.uncaught.push(error)
        unmoved = completions[1]! > before ? 0 : unmoved + 1
      }
    }
    this.#breach('dispatch throws without moving the cursor')
    return undefined
  }

  /** What is left of the batch, behind what the commands have completed at once. */
  #between(batch: readonly Posted[]): Posted[] | undefined {
    const first = firstOf(batch)
    if (first === 0 || this.completions[1] !== first || this.commands[0] === 0) {
      this.#breach('dispatch asked for a submission where there is none to make')
      return undefined
    }
    this.taken()
    const left = [...this.completesBetween(), ...batch.slice(first)]
    // As many as the batch has place for.
    const wakes = this.#dueWakes(this.#batchSize - left.length)
    return inNativeOrder([...wakes, ...left])
  }

  // --- the contract ---------------------------------------------------------------------------------------------

  #takeWake(id: number): void {
    if (id !== 0) this.#breach(`wake for id ${id}`)
    this.#wakes++
  }

  #takeOne({ op, id, a, b }: Command): void {
    const endpoint = this.#live(id, op)
    if (endpoint === undefined) return
    if (endpoint.isClosing) {
      // A second close may only turn an orderly one into a reset: bytes came that nobody will read.
      if (op === 'close' && a === CloseHow.unread) endpoint.isReset = true
      else this.#breach(`${op} after close`)
      return
    }
    switch (op) {
      case 'send':
        this.#takeSend(endpoint, a, b)
        return
      case 'shutdown':
        if (endpoint.inFlight.has('send')) this.#breach('shutdown while a send is in flight')
        if (endpoint.hasFin) this.#breach('shutdown after shutdown')
        break
      case 'cancel': {
        const target = opNames.get(a)
        if (target === undefined) this.#breach(`cancel of opcode ${a}`)
        const operation = endpoint.inFlight.get(target!)
        if (operation?.isCancelRequested) this.#breach(`${target} cancelled twice`)
        if (operation !== undefined) operation.isCancelRequested = true
        return
      }
      case 'close':
        endpoint.isClosing = true
        endpoint.isReset = a !== CloseHow.orderly
        return
      case 'connect':
        this.#breach('connect is not a command')
        return
    }
    this.#start(endpoint, op, Buffer.alloc(0), -1)
  }

  #takeSend(endpoint: EndpointModel, offset: number, length: number): void {
    if (length < 1 || offset < 0 || offset + length > this.arena.length) {
      this.#breach(`send of ${length} bytes at ${offset} of the arena`)
      return
    }
    if (endpoint.hasFin || endpoint.inFlight.has('shutdown')) this.#breach('send after shutdown')
    for (const other of this.#endpoints.values()) {
      const send = other.inFlight.get('send')
      if (send === undefined || send.offset < 0) continue
      if (offset < send.offset + send.bytes.length && send.offset < offset + length) {
        this.#breach(`send at ${offset} overlaps the one in flight at ${send.offset}`)
      }
    }
    const bytes = Buffer.from(this.arena.subarray(offset, offset + length))
    this.#start(endpoint, 'send', bytes, offset)
  }

  #start(endpoint: EndpointModel, op: OpName, bytes: Buffer, offset: number): void {
    if (endpoint.inFlight.has(op)) {
      this.#breach(`a second ${op} in flight`)
      return
    }
    endpoint.inFlight.set(op, { bytes, offset, isCancelRequested: false })
  }

  /** Whether a send that is queued or in flight names the block at `offset`. */
  #sendsNaming(offset: number): boolean {
    for (let i = 0; i < this.commands[0]!; i++) {
      const at = COMMAND_HEADER_WORDS + i * COMMAND_WORDS
      if (this.commands[at] === Op.send && this.commands[at + 2] === offset) return true
    }
    return [...this.#endpoints.values()].some(
      ({ inFlight }) => inFlight.get('send')?.offset === offset,
    )
  }

  #live(id: number, what: string): EndpointModel | undefined {
    const endpoint = this.#endpoints.get(id)
    if (endpoint === undefined) this.#breach(`${what} for id ${id}, which is closed or never was`)
    return endpoint
  }

  #breach(what: string): void {
    this.violations.push(`contract: ${what}`)
  }

  #model(id: number): EndpointModel {
    const endpoint = this.#endpoints.get(id)
    if (endpoint === undefined) throw new Error(`script: no endpoint ${id}`)
    return endpoint
  }

  /** The operation a completion is for; the script may only complete what is in flight. */
  #operation(id: number, op: OpName, isLast: boolean): InFlight {
    this.taken()
    const { inFlight } = this.#model(id)
    const operation = inFlight.get(op)
    if (operation === undefined) throw new Error(`script: no ${op} is in flight on ${id}`)
    if (isLast) inFlight.delete(op)
    return operation
  }
}
