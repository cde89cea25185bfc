/**
 * The load of the gRPC cases, a process of its own on plain node:net: calls at a fixed number at once on one connection,
 * closed-loop. Prints one JSON object as the load generator in C does, whose `sample` reads the server's CPU clock.
 * `node grpc-load.js <options as JSON>`
 */
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { Client, credentials } from '@grpc/grpc-js'
import { echoService } from './grpc-service'
import type { Cpu, Window } from './window'

export interface GrpcLoad {
  port: number
  pid: number
  parallel: number
  bytes: number
  warmupSeconds: number
  seconds: number
  load: string
}

const { path, requestSerialize, responseDeserialize } = echoService.echo

function sample(options: GrpcLoad): Cpu {
  const output = execFileSync(options.load, ['sample', '--pid', String(options.pid)])
  return JSON.parse(output.toString()) as Cpu
}

/** Calls until it is told to stop, and hands the latency of every call over. */
async function call(
  client: Client,
  message: Buffer,
  isOver: () => boolean,
  record: (us: number) => void,
): Promise<void> {
  while (!isOver()) {
    const since = process.hrtime.bigint()
    const answer = await new Promise<Buffer | undefined>((resolve, reject) => {
      client.makeUnaryRequest(
        path,
        requestSerialize,
        responseDeserialize,
        message,
        (error, value) => (error ? reject(error) : resolve(value)),
      )
    })
    if (!answer?.equals(message)) throw new Error('the answer differs from what was sent')
    record(Number(process.hrtime.bigint() - since) / 1e3)
  }
}

async function load(options: GrpcLoad): Promise<Window> {
  const client = new Client(`127.0.0.1:${options.port}`, credentials.createInsecure())
  const message = randomBytes(options.bytes)
  const run = async (seconds: number) => {
    const latencies: number[] = []
    const until = performance.now() + seconds * 1000
    const callers = Array.from({ length: options.parallel }, () =>
      call(
        client,
        message,
        () => performance.now() >= until,
        (us) => latencies.push(us),
      ),
    )
    await Promise.all(callers)
    return latencies.sort((a, b) => a - b)
  }
  await run(options.warmupSeconds)
  const before = { server: sample(options), own: process.cpuUsage(), at: performance.now() }
  const latencies = await run(options.seconds)
  const seconds = (performance.now() - before.at) / 1000
  const own = process.cpuUsage(before.own)
  const after = sample(options)
  client.close()
  const quantile = (q: number) => latencies[Math.floor(q * latencies.length)] ?? 0
  return {
    ops: latencies.length,
    seconds,
    serverUserUs: after.serverUserUs - before.server.serverUserUs,
    serverSystemUs: after.serverSystemUs - before.server.serverSystemUs,
    loadBusyUs: own.user + own.system,
    p50Us: quantile(0.5),
    p99Us: quantile(0.99),
  }
}

load(JSON.parse(process.argv[2] ?? '{}') as GrpcLoad).then(
  (window) => console.log(JSON.stringify(window)),
  (error: unknown) => {
    console.error(error)
    process.exitCode = 1
  },
)
