/**
 * The self-check: which protocols meet which scenarios, run one after the other, each with a deadline. Knows nothing
 * of how results are shown.
 */
import { connect as connectNode } from 'node:net'
import { connect } from '../../src/index'
import type { Dial, Protocol } from './client'
import { httpProtocol } from './clients-http'
import { http2Protocol } from './clients-http2'
import { streamProtocol, tlsProtocol } from './clients-stream'
import { webSocketProtocol } from './clients-websocket'
import { sizeName } from './payload'
import {
  clientReset,
  halfClose,
  onDriver,
  page,
  parallel,
  payloadScenario,
  pipelined,
  slowReader,
  type Scenario,
} from './scenarios'
import { runScoped } from './scope'
import type { Listener, ListenerName } from './servers'

export interface CheckResult {
  protocol: string
  scenario: string
  state: 'waiting' | 'running' | 'passed' | 'failed'
  ms: number
  /** Bytes that were echoed. */
  bytes: number
  /** Why it failed. */
  message: string
}

export interface SelfCheck {
  /** Every check in the order of running; changes as they run. */
  readonly results: readonly CheckResult[]
  /** Never rejects: what goes wrong is in the results. Starts no further check once `signal` is aborted. */
  run(onChange: (index: number, result: CheckResult) => void, signal: AbortSignal): Promise<void>
}

const DEADLINE_MS = 20_000

const payloadSizes = [1, 2, 1000, 16_384, 65_537, 1_000_000, 10_000_000]

/** Scenario names, in the order of the table's columns. */
export const scenarioNames = [
  ...payloadSizes.map(sizeName),
  '500 small',
  '200 conns',
  'slow read',
  'half-close',
  '20 resets',
  'page',
] as const

export function makeSelfCheck(listeners: Listener[], ca: string): SelfCheck {
  const checks = makeProtocols(listeners, ca).flatMap((protocol) =>
    scenariosOf(protocol).map(([name, scenario]) => ({ protocol, name, scenario })),
  )
  const results = checks.map(({ protocol, name }): CheckResult => {
    return {
      protocol: protocol.name,
      scenario: name,
      state: 'waiting',
      ms: 0,
      bytes: 0,
      message: '',
    }
  })
  return {
    results,
    async run(onChange, signal) {
      for (const [index, { protocol, scenario }] of checks.entries()) {
        if (signal.aborted) return
        const result = results[index]!
        result.state = 'running'
        onChange(index, result)
        const started = performance.now()
        try {
          result.bytes = await runScoped(DEADLINE_MS, (scope) => scenario(protocol, scope))
          result.state = 'passed'
        } catch (error) {
          result.state = 'failed'
          result.message = describe(error)
        }
        result.ms = performance.now() - started
        onChange(index, result)
      }
    },
  }
}

function scenariosOf(protocol: Protocol): [string, Scenario][] {
  const raw = ['tcp', 'tcp6', 'unix', 'tls'].includes(protocol.listener.name)
  const web = ['http', 'https', 'h2c'].includes(protocol.listener.name)
  const hasPage = web && !protocol.name.startsWith('ws')
  return [
    ...payloadSizes.map((size): [string, Scenario] => [
      sizeName(size),
      onDriver(payloadScenario(size)),
    ]),
    ['500 small', onDriver(pipelined)],
    ['200 conns', onDriver(parallel)],
    ['slow read', onDriver(slowReader)],
    ...(raw ? [['half-close', onDriver(halfClose)] as [string, Scenario]] : []),
    ['20 resets', onDriver(clientReset)],
    ...(hasPage ? [['page', page] as [string, Scenario]] : []),
  ]
}

function makeProtocols(listeners: Listener[], ca: string): Protocol[] {
  const at = new Map(listeners.map((listener) => [listener.name, listener]))
  const node: Dial = ({ host, port, path }) => connectNode(path ? { path } : { host, port })
  const ours: Dial = ({ host, port, path }) => connect(path ? { path } : { host, port })
  const when = (name: ListenerName, make: (listener: Listener) => Protocol[]) => {
    const listener = at.get(name)
    return listener ? make(listener) : []
  }
  return [
    ...when('tcp', (to) => [
      streamProtocol('tcp', to, node),
      streamProtocol('tcp, own client', to, ours),
    ]),
    ...when('tcp6', (to) => [streamProtocol('tcp, IPv6', to, node)]),
    ...when('unix', (to) => [
      streamProtocol('unix', to, node),
      streamProtocol('unix, own client', to, ours),
    ]),
    ...when('tls', (to) => [
      tlsProtocol('tls', to, node, ca),
      tlsProtocol('tls, own client', to, ours, ca),
    ]),
    ...when('http', (to) => [
      httpProtocol('http/1.1', to, node),
      httpProtocol('http/1.1, own client', to, ours),
    ]),
    ...when('https', (to) => [httpProtocol('https/1.1', to, node, ca)]),
    ...when('h2c', (to) => [
      http2Protocol('h2c', to, node),
      http2Protocol('h2c, own client', to, ours),
    ]),
    ...when('https', (to) => [
      http2Protocol('h2', to, node, ca),
      http2Protocol('h2, own client', to, ours, ca),
    ]),
    ...when('http', (to) => [webSocketProtocol('ws', to, node)]),
    ...when('https', (to) => [webSocketProtocol('wss', to, node, ca)]),
  ]
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const { code } = error as NodeJS.ErrnoException
  return code === undefined || error.message.includes(code)
    ? error.message
    : `${code}: ${error.message}`
}
