/**
 * Plays a server program under plain Node, the oracle, or on a driver, with many clients in another process whose requests
 * come in one batch: the server's process is stopped while they ask. Owns the processes; every wait has a deadline. Reports
 * what the program said, how it ended, and what each client got; judges nothing. In library mode the program's `net` is
 * the package's.
 */
import { fork, spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { programDeadlineMs } from '../deadlines'
import { drivers } from '../e2e/subjects'
import { command, nodes, program } from '../register/program'
import type { Mode } from '../register/program'

const wsPath = require.resolve('ws')

/** register: loaded before the program. library: the program's own `net` is the package. */
export type Way = 'register' | 'library'

export interface Play {
  /** The program. It calls `serve(server)`, and ends by itself. */
  source: string
  clients?: number
  /** What the clients speak. */
  protocol?: 'net' | 'unix' | 'tls' | 'http' | 'ws'
  request?: string
  /** What the clients do instead of asking, one list after the other: ask, end, destroy, reset. */
  actions?: string[][]
  /** So many clients read nothing until the program says 'read'. */
  paused?: number
  flags?: string[]
}

export interface Client {
  bytes: string
  end: string
  /** When the first byte came, in microseconds of the clock that all processes share. */
  at: number
}

export interface Played {
  lines: string[]
  stderr: string
  exit: string
  /** In the order in which they connected. */
  clients: Client[]
}

/**
 * In scope of every program: `net`, `ways` for what a library user writes, `serve`, and for what blocks: `seen()`, how many
 * clients have an answer, and `wait(condition)`, which spins until it holds ('seen') or for too long ('late'). `clock` is
 * that of the clients. `tell` gives the peer a command.
 */
const prelude = `
const isLibrary = process.env.TEST_WAY === 'library' && process.env.TEST_MODE !== 'plain'
const net = require(isLibrary ? library : 'net')
const attach = isLibrary ? net.attach : (server) => server
const fs = require('fs')
const pair = JSON.parse(process.env.TEST_PAIR)
const ws = process.env.TEST_WS
const clock = () => Number(process.hrtime.bigint() / 1000n)
const seen = () => fs.statSync(process.env.TEST_SEEN).size
// Work: a stretch in which the machine stood still is none.
const spin = (ms) => {
  for (let last = performance.now(), done = 0; done < ms; ) {
    const now = performance.now()
    done += Math.min(now - last, 1)
    last = now
  }
}
const wait = (condition, ms = 30000) => {
  for (const end = performance.now() + ms; !condition(); ) if (performance.now() > end) return 'late'
  return 'seen'
}
const tell = (text) => fs.writeSync(3, text + '\\n')
const serve = (server, clients = Number(process.env.TEST_CLIENTS)) => {
  let up = 0
  server.on(server.listeners('secureConnection').length > 0 ? 'secureConnection' : 'connection', (socket) => {
    socket.on('error', () => {})
    if (++up === clients) setImmediate(() => tell('ready'))
  })
  const path = process.env.TEST_PATH
  server.listen(path === undefined ? { port: 0, host: '127.0.0.1', backlog: 4096 } : { path, backlog: 4096 }, () => tell('at ' + (path ?? server.address().port)))
  return server
}
`

/** What the peer says. */
interface Message {
  up?: true
  asked?: true
  report?: Client[]
}

/** Peers that have reported: their start costs more than a play, so they are used again. */
const idlePeers: ChildProcess[] = []
let plays = 0

function takePeer(): ChildProcess {
  const peer = idlePeers.pop()
  if (peer?.connected === true) return peer
  return fork(join(__dirname, 'peer.js'), [], { execArgv: [], env: command('plain').env })
}

afterAll(() => {
  for (const peer of idlePeers.splice(0)) peer.kill('SIGKILL')
})

/** Resolves when the process is stopped, or is no more. */
async function whenStopped(pid: number): Promise<void> {
  const isRunning = (): boolean => {
    try {
      return !/\) [TZ]/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
    } catch {
      return false
    }
  }
  while (isRunning()) await new Promise((resolve) => setImmediate(resolve))
}

/** Runs the program to its end. What hangs is ended by force, which the outcome tells. */
export async function play(mode: Mode, way: Way, node: string, what: Play): Promise<Played> {
  const { source, clients: count = 8, protocol = 'net', request = 'q', flags = [] } = what
  const directory = mkdtempSync(join(tmpdir(), 'uring-net-batch-'))
  const seen = join(directory, 'seen')
  writeFileSync(seen, '')
  const path = program(prelude + source)
  const by = command(way === 'library' && mode !== 'plain' ? 'plain' : mode, { flags })
  const env = {
    ...by.env,
    ...(mode === 'plain' ? {} : { URING_NET_DRIVER: mode }),
    TEST_MODE: mode,
    TEST_WAY: way,
    TEST_SEEN: seen,
    TEST_CLIENTS: String(count),
    TEST_WS: wsPath,
    ...(protocol === 'unix' ? { TEST_PATH: join(directory, 'socket') } : {}),
  }
  // No core of a program that aborts.
  const shell = ['-c', 'ulimit -c 0; exec "$@"', 'sh']
  const server = spawn('sh', [...shell, node, ...by.args, path], {
    env,
    cwd: dirname(path),
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
  })
  const peer = takePeer()
  let isLate = false
  const timer = setTimeout(() => {
    isLate = true
    for (const child of [server, peer]) child.kill('SIGKILL')
  }, programDeadlineMs)
  try {
    const played = await conduct(server, peer, {
      clients: count,
      protocol: protocol === 'unix' ? 'net' : protocol,
      request,
      seen,
      actions: what.actions,
      paused: what.paused,
      ws: wsPath,
      ca: (JSON.parse(by.env['TEST_PAIR']!) as { cert: string }).cert,
    })
    if (isLate) return { ...played, exit: 'deadline' }
    idlePeers.push(peer)
    return played
  } finally {
    clearTimeout(timer)
    server.kill('SIGKILL')
    if (!idlePeers.includes(peer)) peer.kill('SIGKILL')
    rmSync(directory, { recursive: true, force: true })
  }
}

async function conduct(server: ChildProcess, peer: ChildProcess, open: object): Promise<Played> {
  const number = ++plays
  const played: Played = { lines: [], stderr: '', exit: '', clients: [] }
  let stdout = ''
  server.stdout!.on('data', (data: Buffer) => (stdout += data.toString()))
  server.stderr!.on('data', (data: Buffer) => (played.stderr += data.toString()))
  const ended = once(server, 'close') as Promise<[number | null, string | null]>

  const heard: ((message: Message) => void)[] = []
  const hear = <Key extends keyof Message>(key: Key): Promise<Message[Key]> =>
    new Promise((resolve) => {
      heard.push((message) => message[key] !== undefined && resolve(message[key]))
    })
  peer.removeAllListeners('message').on('message', (message: Message & { number: number }) => {
    // One of the play before may still be on its way.
    if (message.number === number) for (const listener of heard) listener(message)
  })
  const isUp = hear('up')
  let control = ''
  let isReady = (): void => {}
  const ready = new Promise<void>((resolve) => (isReady = resolve))
  const send = (message: object): void => void (peer.connected && peer.send(message, () => {}))
  const obey = (line: string): void => {
    const [word, where = ''] = line.split(' ')
    const target = /^\d+$/.test(where)
      ? { port: Number(where), host: '127.0.0.1' }
      : { path: where }
    if (word === 'at') send({ open: { ...open, number, target } })
    else if (word === 'ready') isReady()
    else send({ command: word })
  }
  const channel = server.stdio[3] as NodeJS.ReadableStream
  channel.on('data', (data: Buffer) => {
    const lines = (control + data.toString()).split('\n')
    control = lines.pop()!
    lines.forEach(obey)
  })

  // Behind all messages, which an exit need not be.
  const gone = new Promise<Client[]>((resolve) => {
    peer.removeAllListeners('disconnect').once('disconnect', () => resolve([]))
  })
  const reported = Promise.race([hear('report') as Promise<Client[]>, gone])
  await Promise.race([Promise.all([isUp, ready]), ended, reported])
  if (server.exitCode === null && server.signalCode === null) {
    server.kill('SIGSTOP')
    await whenStopped(server.pid!)
    const asked = hear('asked')
    send({ command: 'ask' })
    await Promise.race([asked, reported])
    server.kill('SIGCONT')
  }
  const [code, signal] = await ended
  played.exit = String(signal ?? code)
  // Those that have read nothing find out how it ended.
  send({ command: 'read' })
  played.clients = await reported
  played.lines = stdout.split('\n').slice(0, -1)
  return played
}

/** What is the same on every run: not the clock. */
export function comparable({ lines, exit, clients }: Played): unknown {
  return { lines, exit, clients: clients.map(({ bytes, end }) => `${bytes} ${end}`) }
}

export interface Scenario extends Play {
  /** What the program has to print, under plain Node and on each driver alike. */
  lines?: string[]
  /** What the clients have to get, in any order; `bytes end` for each. */
  got?: string[]
  ways?: Way[]
  /** What is compared, where the clients' ends are not the same on every run of plain Node. */
  compared?: (played: Played) => unknown
  /** What that has to give, where it is known. */
  expected?: unknown
}

/** The plays of the test's file, one at a time for each program and mode. */
export function scenarios(all: Record<string, Scenario>): void {
  describe.each(nodes)('%s', (node) => {
    describe.each(Object.entries(all))('%s', (_title, scenario) => {
      const { lines, got, ways = ['register'], compared = comparable, expected } = scenario
      let oracle: Promise<Played> | undefined
      const plain = (): Promise<Played> => (oracle ??= play('plain', 'register', node, scenario))

      test('under plain Node', async () => {
        const played = await plain()
        expect(played.exit).not.toBe('deadline')
        if (lines !== undefined) expect(played.lines).toEqual(lines)
        if (got !== undefined) expect(gotBy(played)).toEqual([...got].sort())
        if (expected !== undefined) expect(compared(played)).toEqual(expected)
      })

      const subjects = ways.flatMap((way) => drivers.map((driver) => [way, driver] as const))
      test.each(subjects)('in %s mode on %s, the same', async (way, driver) => {
        const played = await play(driver, way, node, scenario)
        if (lines !== undefined) expect(played.lines).toEqual(lines)
        if (got !== undefined) expect(gotBy(played)).toEqual([...got].sort())
        expect(compared(played)).toEqual(compared(await plain()))
      })
    })
  })
}

/** What the clients got, and how it ended, in an order of its own. */
export function gotBy({ clients }: Played): string[] {
  return clients.map(({ bytes, end }) => `${bytes} ${end}`).sort()
}

export const times = (count: number, text: string): string[] =>
  Array.from({ length: count }, () => text)
