/**
 * What is measured and what it must reach: the cases, the targets, the metrics, and the goals. It never runs anything.
 */

/**
 * `register`: a program written for node:net, on uring by `--require uring-net/register`. `core`: the same job on the
 * low-level API, on uring. `floor-*`: an echo server in C, which shows how far any server could get.
 */
export const TARGETS = [
  ...(['node', 'uring', 'epoll', 'register', 'core', 'floor-epoll', 'floor-uring'] as const),
] as const
export type Target = (typeof TARGETS)[number]

/** What the server does, and so what the load generator does to it. */
export type Kind =
  | 'echo'
  | 'ws-echo'
  | 'ws-broadcast'
  | 'churn'
  | 'stream-out'
  | 'stream-in'
  | 'upload'
  | 'proxy'
  | 'send-file'
  | 'datagrams'
  | 'http'
  | 'h2'
  | 'grpc'
  | 'idle'
  | 'destroy'
  | 'slow-readers'
  | 'fairness'

/** The figures that have a ratio to node:net, and can have a goal. */
export const METRICS = {
  opsPerSecond: { name: 'ops/s', column: 'ops/s', better: 'more' },
  cpuUsPerOp: { name: 'CPU', column: 'CPU µs', better: 'less' },
  p50Us: { name: 'p50', column: 'p50 µs', better: 'less' },
  rssMb: { name: 'memory', column: 'memory MB', better: 'less' },
  kbPerConnection: {
    name: 'memory per connection',
    column: 'KB per connection',
    better: 'less',
  },
  elapsedMs: { name: 'time', column: 'time ms', better: 'less' },
  share: { name: 'slowest / fastest', column: 'slowest / fastest', better: 'more' },
} as const
export type Metric = keyof typeof METRICS
export const METRIC_NAMES = Object.keys(METRICS) as Metric[]

/**
 * One promise: `metric` of `target`, divided by that of `base`, is at least or at most `limit`. Without a base it is the
 * figure itself that is judged.
 */
export interface Goal {
  target: Target
  base: Target | null
  metric: Metric
  bound: 'at least' | 'at most'
  limit: number
}

export interface Case {
  id: string
  title: string
  kind: Kind
  connections: number
  /** Of one message, body or piece. */
  bytes: number
  /** Requests at once on each connection. */
  parallel: number
  tls: boolean
  /** What one operation is, in the singular; empty where none is counted. */
  operation: string
  /** What is told of it, the most important first. */
  metrics: Metric[]
  goals: Goal[]
  /** Factor on the measured window. */
  stretch: number
  /** Whether three rounds of the usual five tell enough: what is measured does not vary with the mood of a core. */
  isSteady: boolean
}

/** Streams count in pieces of this size. */
export const CHUNK_BYTES = 65536

const atLeast = (target: Target, metric: Metric, limit: number): Goal => ({
  target,
  base: 'node',
  metric,
  bound: 'at least',
  limit,
})
const atMost = (target: Target, metric: Metric, limit: number, base: Target = 'node'): Goal => ({
  target,
  base,
  metric,
  bound: 'at most',
  limit,
})
const atLeastItself = (target: Target, metric: Metric, limit: number): Goal => ({
  ...atLeast(target, metric, limit),
  base: null,
})

/** Register mode may not slow what it carries. */
const asLibrary = atMost('register', 'cpuUsPerOp', 1.05, 'uring')

type Essentials = Pick<Case, 'id' | 'title' | 'kind' | 'connections' | 'operation' | 'goals'>

/** A case of throughput: a saturated server, judged by what an operation costs. */
const throughput = (one: Essentials & Partial<Case>): Case => ({
  bytes: 0,
  parallel: 1,
  tls: false,
  metrics: ['cpuUsPerOp', 'opsPerSecond', 'p50Us'],
  stretch: 1,
  isSteady: false,
  ...one,
  goals: [...one.goals, asLibrary],
})

/** A job for the low-level API, against what a program does without it. */
const lowLevel = (one: Essentials & Partial<Case>): Case => ({
  ...throughput(one),
  goals: one.goals,
})

/** A case that counts no operations. */
const measure = (
  one: Omit<Essentials, 'operation'> & { metrics: Metric[] } & Partial<Case>,
): Case => ({
  bytes: 64,
  parallel: 1,
  tls: false,
  operation: '',
  stretch: 1,
  isSteady: true,
  ...one,
})

const connected = (count: number) =>
  `${count.toLocaleString('en-US')} connection${count === 1 ? '' : 's'}`

const busyEcho = [
  atMost('uring', 'cpuUsPerOp', 0.65),
  atLeast('uring', 'opsPerSecond', 1.5),
  atMost('epoll', 'cpuUsPerOp', 0.8),
  atMost('core', 'cpuUsPerOp', 0.6),
  atMost('core', 'cpuUsPerOp', 0.95, 'floor-epoll'),
  atLeast('core', 'opsPerSecond', 1.6),
]

const echo = (connections: number, goals: Goal[]): Case =>
  throughput({
    id: `echo-64B-${connections}`,
    title: `64 B echo, ${connected(connections)}`,
    kind: 'echo',
    connections,
    bytes: 64,
    operation: 'echo',
    goals,
  })

const stream = (kind: 'stream-out' | 'stream-in', title: string, opsPerSecond: number): Case =>
  throughput({
    id: kind === 'stream-out' ? 'stream-64KB' : 'stream-64KB-in',
    title,
    kind,
    connections: 1,
    bytes: CHUNK_BYTES,
    operation: '64 KB',
    metrics: ['cpuUsPerOp', 'opsPerSecond'],
    goals: [
      atMost('uring', 'cpuUsPerOp', 0.95),
      atLeast('uring', 'opsPerSecond', opsPerSecond),
      ...(kind === 'stream-in'
        ? [atMost('core', 'cpuUsPerOp', 0.95), atLeast('core', 'opsPerSecond', 1)]
        : []),
    ],
  })

const http = (one: Pick<Case, 'id' | 'title' | 'goals'> & Partial<Case>): Case =>
  throughput({ kind: 'http', connections: 64, operation: 'request', ...one })

/** h2load tells no quantiles. */
const h2 = (one: Pick<Case, 'id' | 'title' | 'goals'> & Partial<Case>): Case =>
  throughput({
    kind: 'h2',
    connections: 32,
    parallel: 10,
    operation: 'request',
    metrics: ['cpuUsPerOp', 'opsPerSecond'],
    ...one,
  })

const wsEcho = (connections: number): Case =>
  throughput({
    id: `ws-echo-${connections}`,
    title: `WebSocket echo of 64 B, ${connected(connections)}`,
    kind: 'ws-echo',
    connections,
    bytes: 64,
    operation: 'echo',
    goals: [atMost('uring', 'cpuUsPerOp', 0.75)],
  })

const grpc = (parallel: number, cpu: number): Case =>
  throughput({
    id: `grpc-${parallel}`,
    title: `gRPC, ${parallel === 1 ? 'one call' : `${parallel} calls`} at a time, 1 connection`,
    kind: 'grpc',
    connections: 1,
    parallel,
    bytes: 64,
    operation: 'call',
    goals: [atMost('uring', 'cpuUsPerOp', cpu)],
  })

export const CASES: readonly Case[] = [
  echo(1, [atMost('uring', 'cpuUsPerOp', 1.05), atMost('uring', 'p50Us', 1.05)]),
  echo(64, busyEcho),
  echo(500, busyEcho),
  echo(2000, []),
  stream('stream-out', '64 KB stream, server writes', 1.05),
  stream('stream-in', '64 KB stream, server reads', 1),
  http({
    id: 'http-hello',
    title: 'HTTP hello, 64 connections',
    goals: [atMost('uring', 'cpuUsPerOp', 0.8), atMost('epoll', 'cpuUsPerOp', 0.8)],
  }),
  http({
    id: 'http-100KB',
    title: 'HTTP, a Buffer of 100 KB as body, 64 connections',
    bytes: 100_000,
    goals: [atMost('uring', 'cpuUsPerOp', 0.95), atLeast('uring', 'opsPerSecond', 1)],
  }),
  throughput({
    id: 'uploads',
    title: 'HTTP, 200 uploads of 5 MB at once',
    kind: 'upload',
    connections: 200,
    bytes: 5_000_000,
    operation: '64 KB',
    metrics: ['cpuUsPerOp', 'opsPerSecond'],
    goals: [
      atMost('uring', 'cpuUsPerOp', 0.95),
      atLeast('uring', 'opsPerSecond', 1),
      atMost('epoll', 'cpuUsPerOp', 1),
    ],
  }),
  http({
    id: 'https-hello',
    title: 'HTTPS hello, 64 connections',
    tls: true,
    goals: [atMost('uring', 'cpuUsPerOp', 0.85), atMost('epoll', 'cpuUsPerOp', 1)],
  }),
  h2({
    id: 'h2c',
    title: 'HTTP/2 hello without TLS, 32 connections, 10 requests at once on each',
    goals: [atMost('uring', 'cpuUsPerOp', 1), atMost('epoll', 'cpuUsPerOp', 1)],
  }),
  h2({
    id: 'h2c-1',
    title: 'HTTP/2 hello without TLS, 1 connection, one request at a time',
    connections: 1,
    parallel: 1,
    goals: [atMost('uring', 'cpuUsPerOp', 1.05)],
  }),
  h2({
    id: 'h2',
    title: 'HTTP/2 hello over TLS, 32 connections, 10 requests at once on each',
    tls: true,
    goals: [atMost('uring', 'cpuUsPerOp', 0.9)],
  }),
  wsEcho(64),
  wsEcho(500),
  throughput({
    id: 'ws-broadcast',
    title: 'WebSocket, broadcast of 100 B to 1,000 connections',
    kind: 'ws-broadcast',
    connections: 1000,
    bytes: 100,
    operation: 'message',
    goals: [atMost('uring', 'cpuUsPerOp', 0.65)],
  }),
  grpc(1, 1.05),
  grpc(50, 0.9),
  throughput({
    id: 'churn',
    title: 'Connect, 64 B echo, close; 64 at a time',
    kind: 'churn',
    connections: 64,
    bytes: 64,
    operation: 'connection',
    goals: [atLeast('uring', 'opsPerSecond', 0.9)],
  }),
  lowLevel({
    id: 'proxy',
    title: 'TCP proxy, pieces of 64 KB, 16 connections',
    kind: 'proxy',
    connections: 16,
    bytes: CHUNK_BYTES,
    operation: '64 KB',
    metrics: ['cpuUsPerOp', 'opsPerSecond'],
    goals: [atLeast('core', 'opsPerSecond', 1.3)],
  }),
  lowLevel({
    id: 'send-file',
    title: 'HTTP GET of a cached file of 1 MB, 16 connections',
    kind: 'send-file',
    connections: 16,
    bytes: 1_000_000,
    operation: 'file',
    goals: [atLeast('core', 'opsPerSecond', 2), atMost('core', 'cpuUsPerOp', 0.5)],
  }),
  lowLevel({
    id: 'udp-echo',
    title: 'UDP echo of 64 B, 64 peers',
    kind: 'datagrams',
    connections: 64,
    bytes: 64,
    operation: 'datagram',
    goals: [
      atLeast('core', 'opsPerSecond', 1.5),
      atLeast('uring', 'opsPerSecond', 1.3),
      atLeast('epoll', 'opsPerSecond', 1.3),
    ],
  }),
  measure({
    id: 'idle-10000',
    title: '10,000 idle connections',
    kind: 'idle',
    connections: 10_000,
    metrics: ['rssMb', 'kbPerConnection'],
    goals: [atMost('uring', 'rssMb', 1.1), atMost('core', 'kbPerConnection', 0.7)],
  }),
  measure({
    id: 'destroy-4000',
    title: '4,000 connections with a blocked send destroyed in one tick',
    kind: 'destroy',
    connections: 4000,
    metrics: ['elapsedMs'],
    goals: [atMost('uring', 'elapsedMs', 1.5)],
  }),
  measure({
    id: 'slow-readers',
    title: 'One Buffer of 16 MB written to 100 slow readers',
    kind: 'slow-readers',
    connections: 100,
    bytes: 16 << 20,
    metrics: ['rssMb'],
    goals: [atMost('uring', 'rssMb', 1.2)],
  }),
  measure({
    id: 'fairness',
    title: '64 flooding connections and one quiet echo client',
    kind: 'fairness',
    connections: 65,
    metrics: ['share', 'p50Us'],
    goals: [atLeastItself('uring', 'share', 0.5), atLeastItself('epoll', 'share', 0.5)],
    stretch: 4 / 3,
  }),
]

/** The cases whose id is, or begins with, one of the names. Throws on a name that selects nothing. */
export function selectCases(names: readonly string[]): Case[] {
  const chosen = new Set<Case>()
  for (const name of names) {
    const exact = CASES.filter((one) => one.id === name)
    const found = exact.length > 0 ? exact : CASES.filter((one) => one.id.startsWith(name))
    if (found.length === 0) {
      throw new Error(`no case '${name}'; there are ${CASES.map((one) => one.id).join(', ')}`)
    }
    for (const one of found) chosen.add(one)
  }
  return CASES.filter((one) => chosen.has(one))
}

/** The targets of that name, in the order in which trials alternate. */
export function selectTargets(names: readonly string[]): Target[] {
  const unknown = names.find((name) => !TARGETS.some((target) => target === name))
  if (unknown !== undefined) {
    throw new Error(`no target '${unknown}'; there are ${TARGETS.join(', ')}`)
  }
  return TARGETS.filter((target) => names.includes(target))
}

export function isFloor(target: Target): boolean {
  return target.startsWith('floor-')
}

const onlyLowLevel: readonly Kind[] = ['proxy', 'send-file']
const onCore: readonly Kind[] = ['echo', 'idle', 'stream-in', 'datagrams', ...onlyLowLevel]

/** Those of the targets that can run the case: a floor only echoes, and not all has a counterpart in the low-level API. */
export function targetsOf(one: Case, targets: readonly Target[]): Target[] {
  return targets.filter((target) => {
    if (isFloor(target)) return one.kind === 'echo'
    if (target === 'core') return onCore.includes(one.kind)
    // The drivers carry UDP sockets in register mode only, so there is one target less.
    if (one.kind === 'datagrams') return target !== 'register'
    return target === 'node' || !onlyLowLevel.includes(one.kind)
  })
}

/** How many rounds of a run with `trials` of them the case takes. */
export function roundsOf(one: Case, trials: number): number {
  return one.isSteady ? Math.max(1, Math.floor(trials * 0.6)) : trials
}

/** Whether operations are counted, so that ops/s and CPU per operation tell something. */
export function isThroughput(one: Case): boolean {
  return one.metrics.includes('cpuUsPerOp')
}

/** Whether messages could be sent at a fixed rate. */
export function canOpenLoop(one: Case): boolean {
  return one.kind === 'echo' || one.kind === 'ws-echo'
}
