/**
 * What is recorded of one end while a script is played: events and callbacks by phase, bytes, and states. Owns the
 * listeners; never calls anything that moves bytes, but for the reads that the script asks for.
 */
import type { Socket } from 'node:net'
import { contentOf, inEncoding, scribbled, unshifted } from './content'
import type { Action, Encoding, Form, Reading, Step } from './script'

export interface SideTrace {
  /** Events, callbacks and exceptions in order, between two moments of quiet. */
  phases: string[][]
  /** At the end of each phase. */
  states: string[]
  /** By phase: at its end bytes wait that the kernel has no room for, or that nobody reads. */
  unsettled: boolean[]
  /** How many bytes write() and end() accepted, and those bytes. */
  sent: Buffer
  /** How many of them a callback confirmed. */
  confirmed: number
  received: Buffer
  /** Of bytes that the script itself unshifted. */
  unshifted: number
  bytesRead: number
  bytesWritten: number
  hasEnded: boolean
  /** Destroyed before all that it accepted was told to be sent: then amounts depend on the kernel. */
  wasCut: boolean
}

type Told = Error | null | undefined

export class Recorder {
  readonly socket: Socket
  readonly phases: string[][] = [[]]
  readonly states: string[] = []
  readonly unsettled: boolean[] = []
  /** Grows with everything that happens. */
  version = 0
  stalls = 0
  isClosed = false
  isResetRefused = false
  /** Told of each event's name inside its listener. */
  onEvent: ((name: string) => void) | undefined
  readonly #reads: Reading
  readonly #accepted: { bytes: Buffer; isConfirmed: boolean }[] = []
  /** Strings lie side by side until the end: an encoding may cut anywhere. */
  readonly #pieces: (Buffer | { text: string; encoding: Encoding })[] = []
  readonly #waiting = new Map<string, number>()
  /** The call whose callback must not come yet. */
  #calling = ''
  #isReadingByHand = false
  #hasEnded = false
  /** A write that waited answered false, and no 'drain' has come since. */
  #isDrainDue = false
  /** A write of this phase had to wait, or one of an earlier phase still does. */
  #hasWaiting = false
  /** In this phase a write waited for the kernel. */
  #hasBlocked = false
  #unshifted = 0

  constructor(socket: Socket, reads: Reading) {
    this.socket = socket
    this.#reads = reads
    for (const name of ['end', 'finish', 'timeout'] as const) {
      socket.on(name, () => this.note(name, name))
    }
    socket.on('drain', () => {
      this.#isDrainDue = false
      this.#event('drain')
    })
    socket.on('end', () => (this.#hasEnded = true))
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.syscall === 'reset') this.isResetRefused = true
      this.note(`error ${codeOf(error)}`, 'error')
    })
    socket.on('close', (hadError: boolean) => {
      this.isClosed = true
      this.note(`close(${hadError})`, 'close')
    })
    socket.on('data', (chunk: Buffer | string) => this.#take(chunk))
    if (reads === 'paused') socket.pause()
    if (reads === 'readable') {
      socket.on('readable', () => {
        this.#byHand(() => {
          while (socket.read() !== null);
        })
      })
    }
  }

  /** Whether what arrives is read, so that it has to come. */
  get isReading(): boolean {
    const { socket } = this
    if (socket.destroyed || socket.readableEnded) return false
    return this.#reads === 'readable' || socket.readableFlowing === true
  }

  note(line: string, event = ''): void {
    this.phases.at(-1)!.push(line)
    this.#event(event)
  }

  #event(name: string): void {
    this.version++
    this.onEvent?.(name)
  }

  #take(chunk: Buffer | string): void {
    const { socket } = this
    if (this.#hasEnded) this.note('data after end')
    if (this.isClosed) this.note('data after close')
    const isAsked = this.#isReadingByHand || this.#reads === 'readable'
    if (socket.isPaused() && !isAsked) this.note('data while paused')
    if (typeof chunk === 'string') {
      const encoding = socket.readableEncoding as Encoding
      const last = this.#pieces.at(-1)
      if (last !== undefined && 'text' in last) last.text += chunk
      else this.#pieces.push({ text: chunk, encoding })
    } else {
      this.#pieces.push(Buffer.from(chunk))
    }
    this.#event('data')
  }

  #byHand(read: () => void): void {
    this.#isReadingByHand = true
    try {
      read()
    } finally {
      this.#isReadingByHand = false
    }
  }

  /** Takes a step of the script; what it throws is recorded. */
  take({ action }: Step, index: number): void {
    this.version++
    const outer = this.#calling
    try {
      this.#act(action, index)
    } catch (error) {
      this.note(`${action.do} ${index} throws ${codeOf(error)}`)
    } finally {
      this.#calling = outer
    }
  }

  #act(action: Action, index: number): void {
    const { socket } = this
    switch (action.do) {
      case 'write':
        return this.#write(index, action.size, action.form)
      case 'end':
        return this.#end(index, action.size, action.form)
      case 'unshift':
        if (!socket.destroyed && !socket.readableEnded) this.#unshifted += action.size
        socket.unshift(Buffer.alloc(action.size, unshifted))
        return
      case 'read':
        return this.#byHand(() => void socket.read(action.size))
      case 'destroy':
        socket.destroy(action.error ? new Error('script') : undefined)
        return
      case 'setEncoding':
        socket.setEncoding(action.encoding)
        return
      case 'stall':
        return this.#stall(action.turns)
      case 'timeout':
        return this.#timeout(action.ms)
      case 'resetAndDestroy':
        socket.resetAndDestroy()
        return
      default:
        socket[action.do]()
    }
  }

  #callback(name: string, index: number, isAccepted: boolean): (error?: Told) => void {
    const label = `${name} ${index}`
    const entry = isAccepted ? this.#accepted.at(-1) : undefined
    this.#waiting.set(label, 0)
    this.#calling = label
    return (error) => {
      this.#waiting.set(label, this.#waiting.get(label)! + 1)
      if (!error && entry !== undefined) entry.isConfirmed = true
      const result = error ? codeOf(error) : 'ok'
      this.note(
        `${label} ${result}${this.#calling === label ? ' inside the call' : ''}`,
        'callback',
      )
    }
  }

  #accept(bytes: Buffer): boolean {
    const { socket } = this
    const isAccepted = !socket.writableEnded && !socket.destroyed && socket.writable
    if (isAccepted) this.#accepted.push({ bytes: Buffer.from(bytes), isConfirmed: false })
    return isAccepted
  }

  #write(index: number, size: number, form: Form): void {
    const { socket } = this
    const bytes = contentOf(index, size)
    const told = this.#callback('write', index, this.#accept(bytes))
    const mayGoOn = isBytes(form)
      ? socket.write(bytes, told)
      : socket.write(inEncoding(bytes, form), form, told)
    if (form === 'scribbled buffer') bytes.fill(scribbled)
    // With writes waiting the answer depends on how much the kernel has taken.
    if (!this.#hasWaiting) this.note(`write ${index} returns ${mayGoOn}`)
    if (!mayGoOn) this.#hasWaiting = true
    if (!mayGoOn && socket.writableLength > 0) this.#isDrainDue = true
    if (socket.writableLength > 0 && socket.writableCorked === 0) this.#hasBlocked = true
  }

  #end(index: number, size: number | undefined, form: Form = 'buffer'): void {
    const { socket } = this
    if (size === undefined) {
      socket.end(this.#callback('end', index, false))
      return
    }
    const bytes = contentOf(index, size)
    const told = this.#callback('end', index, this.#accept(bytes))
    if (isBytes(form)) socket.end(bytes, told)
    else socket.end(inEncoding(bytes, form), form, told)
    if (form === 'scribbled buffer') bytes.fill(scribbled)
  }

  #stall(turns: number): void {
    this.socket.pause()
    this.stalls++
    let left = turns
    const turn = (): void => {
      if (left-- > 0) {
        setImmediate(turn)
        return
      }
      this.stalls--
      this.version++
      this.socket.resume()
    }
    setImmediate(turn)
  }

  #timeout(ms: number): void {
    const { socket } = this
    if (socket.destroyed) {
      socket.setTimeout(ms)
      return
    }
    this.stalls++
    let isOver = false
    const over = (): void => {
      if (isOver) return
      isOver = true
      clearTimeout(deadline)
      this.stalls--
      this.version++
      socket.setTimeout(0)
    }
    // A deadline only: what ends the wait is the event.
    const deadline = setTimeout(over, 100)
    socket.setTimeout(ms, over)
    socket.once('close', over)
  }

  /** Ends a phase. */
  mark(peer: Recorder): void {
    const { socket } = this
    if (this.#isDrainDue && socket.writableLength === 0 && socket.writable) {
      this.#isDrainDue = false
      this.note("'drain' is missing")
    }
    const flags = [
      socket.readyState,
      socket.destroyed ? 'destroyed' : '',
      socket.readableEnded ? 'ended' : '',
      socket.writableEnded ? 'ending' : '',
      socket.writableFinished ? 'finished' : '',
      socket.readableFlowing ? 'flowing' : '',
      socket.writableLength > 0 ? 'holds bytes' : '',
    ]
    if (this.isReading) {
      const arrived = socket.bytesRead === peer.sentBytes ? 'all' : 'some'
      flags.push(`received ${arrived}`)
    }
    this.#hasWaiting = socket.writableLength > 0 && socket.writableCorked === 0
    const isUnread = !socket.destroyed && !socket.readableEnded && !this.isReading
    this.unsettled.push(isUnread || this.#hasBlocked || socket.writableLength > 0)
    this.#hasBlocked = false
    this.states.push(flags.filter((flag) => flag !== '').join(', '))
    this.phases.push([])
  }

  /** What write() and end() accepted, by our own count. */
  get sentBytes(): number {
    return this.#accepted.reduce((sum, { bytes }) => sum + bytes.length, 0)
  }

  trace(): SideTrace {
    const { socket } = this
    const never = [...this.#waiting].filter(([, times]) => times === 0).map(([label]) => label)
    for (const label of never) this.note(`${label} was never told`)
    const isConfirmed = this.#accepted.filter((entry) => entry.isConfirmed)
    return {
      phases: this.phases,
      states: this.states,
      unsettled: this.unsettled,
      sent: Buffer.concat(this.#accepted.map(({ bytes }) => bytes)),
      confirmed: isConfirmed.reduce((sum, { bytes }) => sum + bytes.length, 0),
      received: this.#received(),
      unshifted: this.#unshifted,
      bytesRead: socket.bytesRead,
      bytesWritten: socket.bytesWritten,
      hasEnded: this.#hasEnded,
      wasCut:
        socket.destroyed &&
        (this.#accepted.some(isWaiting) || (socket.writableEnded && !socket.writableFinished)),
    }
  }

  #received(): Buffer {
    const pieces = this.#pieces.map((piece) =>
      'text' in piece ? Buffer.from(piece.text, piece.encoding) : piece,
    )
    return Buffer.concat(pieces)
  }
}

function isWaiting({ bytes, isConfirmed }: { bytes: Buffer; isConfirmed: boolean }): boolean {
  return bytes.length > 0 && !isConfirmed
}

function isBytes(form: Form): form is 'buffer' | 'scribbled buffer' {
  return form === 'buffer' || form === 'scribbled buffer'
}

/** A code and, where there is one, the system call; of the script's own error the message. */
export function codeOf(error: unknown): string {
  const { code, syscall, message } = error as NodeJS.ErrnoException
  return [code ?? message, syscall].filter((part) => part !== undefined).join(' ')
}
