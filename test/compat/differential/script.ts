/**
 * A script as data: how the pair is made, and steps, each with its moment. Owns the generator; plays nothing. Most moments
 * wait until nothing moves any more, so that most of what is observed follows from the script and not from the clock.
 */
import { random } from './random'
import type { Random } from './random'

export type Side = 'a' | 'b'

export type Encoding = 'utf8' | 'latin1' | 'ascii' | 'hex' | 'base64' | 'utf16le'

/** What is written: a Buffer, which may be scribbled over at once, or a string. */
export type Form = 'buffer' | 'scribbled buffer' | Encoding

export type Action =
  | { do: 'write'; size: number; form: Form }
  | { do: 'end'; size?: number; form?: Form }
  | { do: 'unshift'; size: number }
  | { do: 'read'; size?: number }
  | { do: 'destroy'; error: boolean }
  | { do: 'setEncoding'; encoding: Encoding }
  /** Pauses, and resumes so many turns later. */
  | { do: 'stall'; turns: number }
  /** Sets a timeout, waits for it, and clears it. */
  | { do: 'timeout'; ms: number }
  | { do: 'cork' | 'uncork' | 'pause' | 'resume' | 'destroySoon' | 'resetAndDestroy' }

export const awaited = ['data', 'end', 'finish', 'drain', 'error', 'close', 'callback'] as const

/** When a step is taken, counted from the step before. */
export type Moment =
  | 'now'
  | 'tick'
  | 'microtask'
  | 'immediate'
  /** When nothing moves any more. */
  | 'quiet'
  /** Only for `a` and before all others: in the tick of connect(). */
  | 'connecting'
  | { turns: number }
  /** Inside that event's listener; when nothing moves any more and it has not come, then. */
  | { inside: (typeof awaited)[number]; of: Side }

export interface Step {
  when: Moment
  side: Side
  action: Action
}

export type Reading = 'flowing' | 'paused' | 'readable'

export interface End {
  allowHalfOpen: boolean
  reads: Reading
}

/** `small`: kernel buffers of a few KiB, over TCP. */
export type Transport = 'tcp' | 'small' | 'unix'

export interface Script {
  transport: Transport
  /** The connecting end. */
  a: End
  /** The accepted end. */
  b: End
  steps: readonly Step[]
}

export function scriptOf(seed: number): Script {
  const draw = random(seed)
  const end = (): End => ({
    allowHalfOpen: draw.chance(50),
    reads: draw.weighted([
      [70, 'flowing'],
      [15, 'paused'],
      [15, 'readable'],
    ] as const),
  })
  const transport = draw.weighted([
    [70, 'tcp'],
    [12, 'small'],
    [18, 'unix'],
  ] as const)
  const [a, b] = [end(), end()]
  const steps: Step[] = []
  const early = draw.chance(20) ? 1 + draw.below(3) : 0
  const count = early + 3 + draw.below(12)
  const main: Side = draw.pick(['a', 'b'])
  const decoder: Side | undefined = draw.chance(15) ? draw.pick(['a', 'b']) : undefined
  for (let i = 0; i < count; i++) {
    if (i < early) {
      steps.push({ when: 'connecting', side: 'a', action: earlyAction(draw, i === early - 1) })
      continue
    }
    if (i === early && decoder !== undefined) {
      const encoding = draw.pick(decodings)
      steps.push({ when: 'quiet', side: decoder, action: { do: 'setEncoding', encoding } })
    }
    // One end does most, so that what it does follows on what it did.
    const side = draw.chance(60) ? main : main === 'a' ? 'b' : 'a'
    const step: Step = { when: moment(draw), side, action: action(draw, transport) }
    // A clock runs: nothing else may happen meanwhile.
    const isTimed = step.action.do === 'timeout' || steps.at(-1)?.action.do === 'timeout'
    if (isTimed) step.when = 'quiet'
    const isDecoded = steps.some((at) => at.side === side && at.action.do === 'setEncoding')
    // Node keeps unshifted bytes as they are among decoded strings, and decodes twice what was decoded.
    const isOnce = step.action.do === 'unshift' || step.action.do === 'setEncoding'
    if (!isOnce || !isDecoded) steps.push(step)
  }
  return withoutRaces({ transport, a, b, steps })
}

/** What is known about a script's phase, between two moments of quiet, while its steps are gone through. */
interface Phase {
  actors: Set<Side>
  isDestructive: boolean
  hasInside: boolean
  hasEnd: boolean
}

/**
 * The same steps, with quiet between those whose outcome would follow from which of two sockets, or which of two packets,
 * was first. Two ends in one process meet within a microsecond, which no two programs do; node:net and any other
 * implementation may differ there, and so may two runs. Each case has its reason beside it.
 */
function withoutRaces(script: Script): Script {
  const hasEnded = { a: false, b: false }
  const isPaused = { a: script.a.reads === 'paused', b: script.b.reads === 'paused' }
  const mayHoldUnread = { ...isPaused }
  let isBroken = false
  const newPhase = (): Phase => {
    return { actors: new Set(), isDestructive: false, hasInside: false, hasEnd: false }
  }
  let phase = newPhase()
  const steps = script.steps.map((planned, index): Step => {
    let step = planned
    const { side } = step
    const other: Side = side === 'a' ? 'b' : 'a'
    const isSend = step.action.do === 'write' || step.action.do === 'end'
    // Writing after an end, one's own or (half-open or not) the peer's, may destroy.
    let isDestructive =
      step.action.do === 'destroy' ||
      step.action.do === 'destroySoon' ||
      step.action.do === 'resetAndDestroy' ||
      (isSend && 'size' in step.action && (hasEnded.a || hasEnded.b))
    // A close with bytes unread in the kernel resets the peer; how many are left there depends on how far one reads ahead.
    // And what is on its way from a closed end is lost when one's own bytes are answered with a reset.
    if (mayHoldUnread[side] && (isDestructive || (isBroken && isSend))) {
      step = { when: 'quiet', side, action: { do: 'resume' } }
      isDestructive = false
    }
    // Bytes that lie unread decide whether an end was seen, after which nothing can be unshifted, and which character is
    // the first to be decoded.
    const isDecoding = step.action.do === 'setEncoding'
    if (mayHoldUnread[side] && (isDecoding || step.action.do === 'unshift')) {
      step = { when: 'quiet', side, action: { do: 'resume' } }
    }
    // A peer that gets data and a reset in one turn may see an end: libuv takes a short read with POLLHUP for one.
    if (mayHoldUnread[other] && step.action.do === 'resetAndDestroy') {
      step = { when: 'quiet', side: other, action: { do: 'resume' } }
      isDestructive = false
    }
    const { action, when } = step
    const isApart =
      when === 'quiet' ||
      (phase.actors.has(other) && (isDestructive || phase.isDestructive || phase.hasInside)) ||
      isDecoding ||
      // As above; and libuv refuses a reset while a FIN is under way, and never closes then.
      (action.do === 'resetAndDestroy' && phase.actors.size > 0) ||
      // In which turn a close is told depends on when the peer's end has come.
      ((phase.hasEnd || phase.isDestructive) && isTurns(when)) ||
      // The two ends are connected in different turns.
      (script.steps[index - 1]?.when === 'connecting' && when !== 'connecting')
    if (isApart) {
      Object.assign(mayHoldUnread, isPaused)
      phase = newPhase()
    }
    phase.actors.add(step.side)
    phase.isDestructive ||= isDestructive
    phase.hasInside ||= typeof when === 'object' && 'inside' in when
    phase.hasEnd ||= action.do === 'end'
    isBroken ||= isDestructive
    if (action.do === 'end' || action.do === 'destroySoon') hasEnded[side] = true
    if (action.do === 'pause') isPaused[step.side] = true
    if (action.do === 'resume' || action.do === 'stall') isPaused[step.side] = false
    if (action.do === 'pause' || action.do === 'stall') mayHoldUnread[step.side] = true
    const moved: Step = { ...step, when: isApart ? 'quiet' : inOwn(when, side) }
    if (!isBroken || !isSend || !('size' in action) || action.size === undefined) return moved
    // To a closed end: a write of nothing may fail or not be tried, and one that waits may be told of either error.
    const size = Math.min(Math.max(action.size, 2), 2000)
    return { ...moved, action: { ...action, size } as Action }
  })
  return { ...script, steps }
}

function isTurns(when: Moment): boolean {
  return when === 'immediate' || (typeof when === 'object' && 'turns' in when)
}

/** Events of the other end are no moment for this one: which comes first is a race of two sockets. */
function inOwn(when: Moment, side: Side): Moment {
  return typeof when === 'object' && 'inside' in when ? { ...when, of: side } : when
}

function moment(draw: Random): Moment {
  const kind = draw.weighted([
    [38, 'quiet'],
    [22, 'now'],
    [6, 'tick'],
    [6, 'microtask'],
    [7, 'immediate'],
    [6, 'turns'],
    [15, 'inside'],
  ] as const)
  if (kind === 'turns') return { turns: 2 + draw.below(4) }
  if (kind === 'inside') return { inside: draw.pick(awaited), of: draw.pick(['a', 'b']) }
  return kind
}

const encodings: readonly Encoding[] = ['utf8', 'latin1', 'ascii', 'hex', 'base64', 'utf16le']
/** Those that decode all of what is written; 'ascii' and 'utf16le' do not. */
const decodings: readonly Encoding[] = ['utf8', 'utf8', 'latin1', 'hex', 'base64']

function form(draw: Random): Form {
  return draw.weighted<Form>([
    [50, 'buffer'],
    [12, 'scribbled buffer'],
    [38, draw.pick(encodings)],
  ])
}

function size(draw: Random, transport: Transport): number {
  const small = transport === 'small'
  const kind = draw.weighted([
    [5, 'none'],
    [40, 'few'],
    [25, 'some'],
    [10, 'edge'],
    [12, 'many'],
    [8, 'most'],
  ] as const)
  switch (kind) {
    case 'none':
      return 0
    case 'few':
      return 1 + draw.below(100)
    case 'some':
      return 1 + draw.below(6000)
    case 'edge':
      // Sizes at which streams and drivers change their ways.
      return draw.pick([4096, 16384, 65536, 131072]) - 1 + draw.below(3)
    case 'many':
      return draw.below(60_000)
    default:
      return draw.below(small ? 100_000 : 300_000)
  }
}

function bytes(draw: Random, transport: Transport): { size: number; form: Form } {
  const [length, as] = [size(draw, transport), form(draw)]
  return { size: as === 'utf16le' ? length - (length % 2) : length, form: as }
}

function earlyAction(draw: Random, isLast: boolean): Action {
  const kind = draw.weighted([
    [60, 'write'],
    // What fails before there is a connection would leave no pair.
    [isLast ? 8 : 0, 'end'],
    [10, 'cork'],
    [12, 'uncork'],
    [5, 'pause'],
    [5, 'resume'],
  ] as const)
  if (kind === 'write') return { do: 'write', ...bytes(draw, 'tcp') }
  return { do: kind }
}

function action(draw: Random, transport: Transport): Action {
  const kind = draw.weighted([
    [420, 'write'],
    [60, 'end'],
    [40, 'end with data'],
    [50, 'cork'],
    [60, 'uncork'],
    [60, 'pause'],
    [80, 'resume'],
    [30, 'read'],
    [20, 'unshift'],
    [25, 'destroy'],
    [25, 'destroySoon'],
    [20, 'resetAndDestroy'],
    [25, 'setEncoding'],
    [60, 'stall'],
    [12, 'timeout'],
  ] as const)
  switch (kind) {
    case 'write':
      return { do: 'write', ...bytes(draw, transport) }
    case 'end':
      return { do: 'end' }
    case 'end with data':
      return { do: 'end', ...bytes(draw, transport) }
    case 'read':
      return draw.chance(40) ? { do: 'read' } : { do: 'read', size: 1 + draw.below(2000) }
    case 'unshift':
      return { do: 'unshift', size: 1 + draw.below(50) }
    case 'destroy':
      return { do: 'destroy', error: draw.chance(40) }
    case 'setEncoding':
      return { do: 'setEncoding', encoding: draw.pick(decodings) }
    case 'stall':
      return { do: 'stall', turns: 1 + draw.below(12) }
    case 'timeout':
      return { do: 'timeout', ms: 3 }
    default:
      return { do: kind }
  }
}
