/**
 * Plays a script on a pair and returns its trace. Owns the sockets while it plays, and the waiting: a step's moment, and
 * what it means that nothing moves any more. Compares nothing.
 */
import type { Socket } from 'node:net'
import { connectPair } from './connect'
import type { Modules } from './connect'
import { codeOf, Recorder } from './record'
import type { SideTrace } from './record'
import type { Moment, Script, Side, Step } from './script'

export interface Trace {
  a: SideTrace
  b: SideTrace
  /** What belongs to neither: uncaught exceptions, deadlines. */
  other: string[]
}

/** Loop turns in which nothing changes, after which nothing moves any more. */
const quietTurns = 5
/** For what has to come, as far as the states of both ends tell. */
const signalMs = 400
const silenceMs = 60
const playMs = 8000
/** A pair is no part of a play. */
const pairMs = 45_000

/** Appended to each script: whatever it did, everything is read and both ends are closed. */
const epilogue: readonly Step[] = [
  { when: 'quiet', side: 'a', action: { do: 'resume' } },
  { when: 'now', side: 'b', action: { do: 'resume' } },
  { when: 'quiet', side: 'a', action: { do: 'end' } },
  { when: 'quiet', side: 'b', action: { do: 'end' } },
  { when: 'quiet', side: 'a', action: { do: 'destroy', error: false } },
  { when: 'quiet', side: 'b', action: { do: 'destroy', error: false } },
]

export function play(script: Script, modules: Modules): Promise<Trace> {
  return new Play(script).run(modules)
}

class Play {
  readonly #script: Script
  readonly #steps: readonly Step[]
  readonly #ends = new Map<Side, Recorder>()
  readonly #other: string[] = []
  #isOver = false
  #finish: () => void = () => {}

  constructor(script: Script) {
    this.#script = script
    this.#steps = [...script.steps, ...epilogue]
  }

  async run(modules: Modules): Promise<Trace> {
    const onUncaught = (error: unknown): void => {
      this.#other.push(`uncaught ${codeOf(error)}`)
    }
    process.on('uncaughtException', onUncaught)
    let deadline: NodeJS.Timeout | undefined
    try {
      await new Promise<void>((resolve) => {
        this.#finish = resolve
        const end = (): void => {
          this.#other.push('the deadline of the play passed')
          resolve()
        }
        deadline = setTimeout(end, pairMs)
        const onSocket = (side: Side, socket: Socket): void => this.#onSocket(side, socket)
        connectPair(modules, this.#script, onSocket, (error) => {
          if (this.#isOver) return
          if (error !== undefined) {
            this.#other.push(`no pair: ${codeOf(error)}`)
            resolve()
          } else if (this.#ends.size === 2) {
            clearTimeout(deadline)
            deadline = setTimeout(end, playMs)
            this.#begin()
          }
        })
      })
    } finally {
      clearTimeout(deadline)
      this.#isOver = true
      for (const { socket } of this.#ends.values()) if (!socket.destroyed) socket.destroy()
      process.off('uncaughtException', onUncaught)
    }
    const [a, b] = [this.#ends.get('a'), this.#ends.get('b')]
    if (a === undefined || b === undefined) {
      throw new Error(`no pair was made: ${this.#other.join(', ')}`)
    }
    return { a: a.trace(), b: b.trace(), other: this.#other }
  }

  #onSocket(side: Side, socket: Socket): void {
    this.#ends.set(side, new Recorder(socket, this.#script[side].reads))
    if (side === 'b') return
    const early = this.#steps.findIndex(({ when }) => when !== 'connecting')
    for (let i = 0; i < early; i++) this.#take(i)
  }

  #begin(): void {
    this.#next(this.#steps.findIndex(({ when }) => when !== 'connecting'))
  }

  #take(index: number): void {
    const step = this.#steps[index]!
    this.#ends.get(step.side)!.take(step, index)
  }

  /** Takes step `index` at its moment, and then the rest. */
  #next(index: number): void {
    if (this.#isOver) return
    const step = this.#steps[index]
    if (step === undefined) {
      this.#whenQuiet(() => {
        this.#mark()
        this.#finish()
      })
      return
    }
    this.#at(step.when, () => {
      if (this.#isOver) return
      this.#take(index)
      this.#next(index + 1)
    })
  }

  #at(when: Moment, go: () => void): void {
    switch (when) {
      case 'connecting':
      case 'now':
        return go()
      case 'tick':
        return process.nextTick(go)
      case 'microtask':
        return queueMicrotask(go)
      case 'immediate':
        return void setImmediate(go)
      case 'quiet':
        return this.#whenQuiet(() => {
          this.#mark()
          go()
        })
    }
    if ('turns' in when) {
      let left = when.turns
      const turn = (): void => {
        if (--left > 0) setImmediate(turn)
        else go()
      }
      setImmediate(turn)
      return
    }
    this.#inside(when.inside, this.#ends.get(when.of)!, go)
  }

  #inside(event: string, end: Recorder, go: () => void): void {
    let isTaken = false
    const take = (): void => {
      if (isTaken) return
      isTaken = true
      end.onEvent = undefined
      go()
    }
    end.onEvent = (name) => {
      if (name === event) take()
    }
    this.#whenQuiet(take, () => isTaken)
  }

  #mark(): void {
    const [a, b] = [this.#ends.get('a')!, this.#ends.get('b')!]
    a.mark(b)
    b.mark(a)
  }

  #whenQuiet(go: () => void, isCancelled: () => boolean = () => false): void {
    // Where one thing did not come, more will not.
    const limit = performance.now() + (this.#other.length === 0 ? signalMs : silenceMs)
    const [a, b] = [this.#ends.get('a')!, this.#ends.get('b')!]
    let idle = 0
    let turns = 0
    let last = ''
    const turn = (): void => {
      if (this.#isOver || isCancelled()) return
      const now = `${moved(a)} ${moved(b)}`
      const due = dueOf(a, b) ?? dueOf(b, a)
      idle = now === last && due === undefined ? idle + 1 : 0
      last = now
      if (idle >= quietTurns) return go()
      if (due !== undefined && performance.now() > limit) {
        this.#other.push(`did not come: ${due}`)
        return go()
      }
      // Spinning for long would take the processor from the kernel's own work.
      if (++turns < 100) setImmediate(turn)
      else setTimeout(turn, 1)
    }
    setImmediate(turn)
  }
}

function moved({ version, stalls, socket }: Recorder): string {
  return `${version} ${stalls} ${socket.bytesRead} ${socket.writableLength} ${socket.readableLength}`
}

/** What has to happen at this end, judged by the states of both; undefined when nothing is known to be on its way. */
function dueOf(end: Recorder, peer: Recorder): string | undefined {
  const { socket } = end
  if (end.stalls > 0) return 'the end of a stall'
  // Refused after an end, and then Node never closes it.
  if (end.isResetRefused) return undefined
  if (socket.destroyed) return end.isClosed ? undefined : "'close' after a destroy"
  const isWaiting = socket.writableLength > 0 && socket.writableCorked === 0
  if (isWaiting && (peer.isReading || peer.isClosed)) return 'the end of a write'
  const isFinishing = socket.writableEnded && socket.writableLength === 0
  if (isFinishing && !socket.writableFinished) return "'finish' after an end"
  if (socket.readableEnded && socket.writableFinished) return 'the destruction of a finished socket'
  if (!end.isReading) return undefined
  if (peer.isClosed || peer.socket.writableFinished) return 'the end of the stream'
  // What the peer still holds is its own matter: a length in characters says nothing about bytes.
  const isSent = peer.socket.writableLength === 0
  return isSent && peer.sentBytes > socket.bytesRead ? 'bytes that were sent' : undefined
}
