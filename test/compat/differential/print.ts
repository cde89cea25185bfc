/**
 * Prints a script as a program to paste: `node repro.mjs` plays it on node:net, `node repro.mjs <module>` on another net
 * module; the outputs differ. Owns the text; plays nothing.
 */
import { addonPath } from '../buffer-bytes'
import type { Action, End, Form, Moment, Script, Side, Step } from './script'

export interface PrintOptions {
  seed: number
  ends: 'both' | 'client' | 'server'
  module: string
}

export function printScript(script: Script, { seed, ends, module }: PrintOptions): string {
  const early = script.steps.filter(({ when }) => when === 'connecting')
  const later = script.steps.filter(({ when }) => when !== 'connecting')
  const isSmall = script.transport === 'small' && addonPath !== undefined
  const of = (which: 'client' | 'server'): string =>
    ends === 'both' || ends === which ? 'net' : 'nodeNet'
  return `// Seed ${seed}. Compare \`node repro.mjs\` with \`node repro.mjs ${module}\`.
import { createRequire } from 'node:module'
import nodeNet from 'node:net'
const require = createRequire(import.meta.url)
const net = process.argv[2] ? require(process.argv[2]) : nodeNet
${isSmall ? `const { setBufferBytes } = require(${JSON.stringify(addonPath)})\n` : ''}
let version = 0, stalls = 0, waiting, calling
const drained = { a: false, b: false }
const say = (...words) => { version++; console.log(...words) }
const told = (name) => { calling = name; return (error) => { say(name, error ? [error.code ?? error.message, error.syscall].join(' ') : 'ok', calling === name ? 'inside the call' : ''); happened(name[0], 'callback') } }
const happened = (side, event) => { if (waiting?.side === side && waiting.event === event) { const { go } = waiting; waiting = undefined; go() } }
// Valid UTF-8 that tells where it belongs.
const bytes = (index, size) => { let text = ''; for (let i = index * 1999; text.length * 2 < size; i++) text += 'é€𝄞' + i.toString(36).padStart(8, '0')
  const all = Buffer.from(text), whole = size - (size % 17), out = Buffer.alloc(size, 97 + (index % 26)); all.copy(out, 0, 0, whole); return out }
const scribble = (chunk, write) => { write(chunk); chunk.fill(1) }
const stall = (socket, turns) => { stalls++; socket.pause(); const turn = () => { if (turns-- > 0) return setImmediate(turn); stalls--; socket.resume() }; setImmediate(turn) }
const timeout = (socket, ms) => { stalls++; const over = () => { if (!late) return; clearTimeout(late); late = undefined; stalls--; socket.setTimeout(0) }
  let late = setTimeout(over, 100); socket.setTimeout(ms, over); socket.once('close', over) }
const sockets = {}, received = {}
function watch(side, socket, reads) {
  sockets[side] = socket
  received[side] = []
  for (const event of ['end', 'finish', 'timeout', 'close', 'drain', 'error']) {
    socket.on(event, (value) => { if (event === 'drain') drained[side] = true; else say(side, event, value?.code ?? value?.message ?? value ?? ''); happened(side, event) })
  }
  socket.on('data', (chunk) => { version++; received[side].push(Buffer.from(chunk, socket.readableEncoding ?? undefined)); if (reads === 'flowing' && socket.isPaused()) say(side, 'data while paused'); happened(side, 'data') })
  if (reads === 'paused') socket.pause()
  if (reads === 'readable') socket.on('readable', () => { while (socket.read() !== null); })
}

// Moments: when the next step is taken.
const now = (go) => go()
const tick = (go) => process.nextTick(go)
const microtask = (go) => queueMicrotask(go)
const immediate = (go) => setImmediate(go)
const turns = (n) => (go) => { const turn = () => (--n > 0 ? setImmediate(turn) : go()); setImmediate(turn) }
const quiet = (go, isTaken = () => false) => {
  let idle = 0, last
  const turn = () => {
    if (isTaken()) return
    const state = [version, stalls, a.bytesRead, b.bytesRead, a.writableLength, b.writableLength].join()
    idle = state === last && stalls === 0 ? idle + 1 : 0
    last = state
    if (idle < 30) return setTimeout(turn, 1)
    go()
  }
  turn()
}
const inside = (side, event) => (go) => { let isTaken = false; const take = () => { if (isTaken) return; isTaken = true; waiting = undefined; go() }
  waiting = { side, event, go: take }; quiet(take, () => isTaken) }

let a, b, isConnected = false
const steps = [
${later.map((step) => `  [${momentOf(step.when)}, () => ${statement(step, script.steps.indexOf(step))}],\n`).join('')}  // Whatever it did, everything is read and both ends are closed.
  [quiet, () => { say('quiet', a.readyState, b.readyState); a.resume(); b.resume() }],
  [quiet, () => { say('quiet', a.readyState, b.readyState); a.end() }],
  [quiet, () => b.end()],
  [quiet, () => {
    for (const side of ['a', 'b']) {
      const all = Buffer.concat(received[side])
      console.log(side, 'received', all.length, require('node:crypto').createHash('sha1').update(all).digest('hex').slice(0, 12),
        'bytesRead', sockets[side].bytesRead, 'bytesWritten', sockets[side].bytesWritten, sockets[side].readyState, drained[side] ? 'drained' : '')
    }
    process.exit()
  }],
]
const next = (i) => { steps[i]?.[0](() => {
  try { steps[i][1]() } catch (error) { say('step', i, 'throws', error.code ?? error.message) }
  calling = undefined
  next(i + 1)
}) }
const begin = () => { if (isConnected && b !== undefined) next(0) }

const listener = ${of('server')}.createServer({ allowHalfOpen: ${script.b.allowHalfOpen}, noDelay: true }, (socket) => { b = socket; watch('b', b, '${script.b.reads}'); begin() })
listener.listen(${script.transport === 'unix' ? "require('node:path').join(require('node:os').tmpdir(), `repro-${process.pid}.sock`)" : "{ port: 0, host: '127.0.0.1' }"}, () => {
${isSmall ? '  setBufferBytes(listener._handle.fd, 4096, 0)\n' : ''}  const address = listener.address()
  a = ${of('client')}.connect({ ${script.transport === 'unix' ? 'path: address' : "port: address.port, host: '127.0.0.1'"}, ${connectOptions(script.a)} })
  watch('a', a, '${script.a.reads}')
  a.once('connect', () => { ${isSmall ? 'setBufferBytes(a._handle.fd, 4096, 0); ' : ''}listener.close(); isConnected = true; begin() })
${early.map((step) => `  ${statement(step, script.steps.indexOf(step))}\n`).join('')}  calling = undefined
})
setTimeout(() => { console.log('the deadline passed'); process.exit() }, 10_000).unref()
`
}

function connectOptions({ allowHalfOpen }: End): string {
  return `allowHalfOpen: ${allowHalfOpen}, noDelay: true`
}

function momentOf(when: Moment): string {
  if (typeof when === 'string') return when
  if ('turns' in when) return `turns(${when.turns})`
  return `inside('${when.of}', '${when.inside}')`
}

function statement({ side, action }: Step, index: number): string {
  switch (action.do) {
    case 'write':
    case 'end':
      return sending(side, action, index)
    case 'unshift':
      return `${side}.unshift(Buffer.alloc(${action.size}))`
    case 'read':
      return `${side}.read(${action.size ?? ''})`
    case 'destroy':
      return `${side}.destroy(${action.error ? "new Error('script')" : ''})`
    case 'setEncoding':
      return `${side}.setEncoding('${action.encoding}')`
    case 'stall':
      return `stall(${side}, ${action.turns})`
    case 'timeout':
      return `timeout(${side}, ${action.ms})`
    default:
      return `${side}.${action.do}()`
  }
}

function sending(side: Side, action: Action & { do: 'write' | 'end' }, index: number): string {
  const callback = `told('${side} ${action.do} ${index}')`
  if (action.size === undefined) return `${side}.end(${callback})`
  const form: Form = action.form ?? 'buffer'
  const bytes = `bytes(${index}, ${action.size})`
  if (form === 'buffer') return `${side}.${action.do}(${bytes}, ${callback})`
  if (form === 'scribbled buffer') {
    return `scribble(${bytes}, (chunk) => ${side}.${action.do}(chunk, ${callback}))`
  }
  const text = `${bytes}.toString('${form === 'ascii' ? 'latin1' : form}')`
  return `${side}.${action.do}(${text}, '${form}', ${callback})`
}
