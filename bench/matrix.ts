/**
 * What is measured and what it must reach: the cases, the targets, and the goals as ratios within the same run.
 * It never runs anything.
 */

/** `register`: a program written for node:net, on uring by `--require uring-net/register`. */
export const TARGETS = ['node', 'uring', 'epoll', 'register'] as const
export type Target = (typeof TARGETS)[number]

/** How the server and the load generator talk to each other. */
export type Kind = 'echo' | 'stream-out' | 'stream-in' | 'churn' | 'http'

/** The figures that have a ratio to node:net. */
export type Metric = 'opsPerSecond' | 'cpuUsPerOp' | 'p50Us'

/** One promise: `metric` of `target`, divided by that of `base`, is at least or at most `ratio`. */
export interface Goal {
  target: Target
  base: Target
  metric: Metric
  bound: 'at least' | 'at most'
  ratio: number
}

export interface Case {
  id: string
  title: string
  kind: Kind
  connections: number
  bytes: number
  /** What one operation is, in the singular. */
  operation: string
  goals: Goal[]
}

/** Streams count in pieces of this size. */
export const CHUNK_BYTES = 65536

const atLeast = (target: Target, metric: Metric, ratio: number): Goal => ({
  target,
  base: 'node',
  metric,
  bound: 'at least',
  ratio,
})
const atMost = (target: Target, metric: Metric, ratio: number, base: Target = 'node'): Goal => ({
  target,
  base,
  metric,
  bound: 'at most',
  ratio,
})

/** Register mode may not slow what it carries. */
const asLibrary = atMost('register', 'cpuUsPerOp', 1.05, 'uring')

const busyEcho = [
  atMost('uring', 'cpuUsPerOp', 0.7),
  atLeast('uring', 'opsPerSecond', 1.4),
  atMost('epoll', 'cpuUsPerOp', 0.8),
  asLibrary,
]

const echo = (connections: number, goals: Goal[]): Case => ({
  id: `echo-64B-${connections}`,
  title: `64 B echo, ${connections} connection${connections === 1 ? '' : 's'}`,
  kind: 'echo',
  connections,
  bytes: 64,
  operation: 'echo',
  goals,
})

const stream = (kind: 'stream-out' | 'stream-in', title: string): Case => ({
  id: kind === 'stream-out' ? 'stream-64KB' : 'stream-64KB-in',
  title,
  kind,
  connections: 1,
  bytes: CHUNK_BYTES,
  operation: '64 KB',
  goals: [atLeast('uring', 'opsPerSecond', 0.95), asLibrary],
})

export const CASES: readonly Case[] = [
  echo(1, [atMost('uring', 'p50Us', 1.1), asLibrary]),
  echo(64, busyEcho),
  echo(500, busyEcho),
  echo(2000, [asLibrary]),
  stream('stream-out', '64 KB stream, server writes'),
  stream('stream-in', '64 KB stream, server reads'),
  {
    id: 'http-hello',
    title: 'HTTP hello, 64 connections',
    kind: 'http',
    connections: 64,
    bytes: 0,
    operation: 'request',
    goals: [atMost('uring', 'cpuUsPerOp', 0.75), asLibrary],
  },
  {
    id: 'http-100KB',
    title: 'HTTP, a Buffer of 100 KB as body, 64 connections',
    kind: 'http',
    connections: 64,
    bytes: 100_000,
    operation: 'request',
    goals: [atLeast('uring', 'opsPerSecond', 0.95), asLibrary],
  },
  {
    id: 'churn',
    title: 'Connect, 64 B echo, close; 64 at a time',
    kind: 'churn',
    connections: 64,
    bytes: 64,
    operation: 'connection',
    goals: [atLeast('uring', 'opsPerSecond', 0.9), asLibrary],
  },
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
