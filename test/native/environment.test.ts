/** The ends of processes, workers and callbacks: drivers leave nothing behind and break nothing. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import * as net from 'node:net'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { addonPath, closeRigs, emitted, kinds, makeRig, within } from './rig'

afterEach(closeRigs)

const program = join(__dirname, 'child.js')
const env = { ...process.env, URING_NET_ADDON_UNDER_TEST: addonPath }
const descriptors = () => readdirSync('/proc/self/fd').length

interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly said: unknown[]
  readonly stderr: string
}

interface Setting {
  readonly args?: string[]
  /** ulimit -n. */
  readonly limit?: number
}

/** Runs one of child.js's programs to its end. */
async function run(name: string, kind: string, setting: Setting = {}): Promise<Ended> {
  const words = [process.execPath, program, name, kind, ...(setting.args ?? [])]
  const limit = `ulimit -n ${setting.limit ?? '$(ulimit -n)'}; exec "$@"`
  const child = spawn('sh', ['-c', limit, 'sh', ...words], {
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let stdout = ''
  let stderr = ''
  child.stdout!.on('data', (chunk) => (stdout += chunk))
  child.stderr!.on('data', (chunk) => (stderr += chunk))
  const closed = once(child, 'close') as Promise<[number | null, NodeJS.Signals | null]>
  try {
    const [code, signal] = await within(`end of ${name}`, closed, 15_000)
    const said = stdout
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as unknown)
    return { code, signal, said, stderr }
  } finally {
    child.kill('SIGKILL')
  }
}

function startWorker(name: string, kind: string): Worker {
  return new Worker(program, { workerData: [name, kind], env })
}

describe.each(kinds)('%s: worker', (kind) => {
  test.each(['busy', 'spin'])(
    'terminated with operations in flight (%s) leaves no descriptor behind',
    async (name) => {
      // The first worker may make the process open descriptors that it keeps.
      const first = startWorker(name, kind)
      await within('first worker', once(first, 'message'))
      await first.terminate()
      const before = descriptors()
      for (let round = 0; round < 3; round++) {
        const worker = startWorker(name, kind)
        await within('worker', once(worker, 'message'))
        expect(descriptors()).toBeGreaterThan(before)
        await within('termination', worker.terminate())
      }
      expect(descriptors()).toBe(before)
    },
  )

  test('has a driver of its own beside that of the main thread', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair()
    const worker = startWorker('busy', kind)
    await within('worker', once(worker, 'message'))
    peer.write('meanwhile')
    await rig.completion('receive', id)
    await worker.terminate()
    peer.write(' and after')
    await rig.until('both', () => rig.received(id).toString() === 'meanwhile and after')
    peer.destroy()
  })
})

describe.each(kinds)('%s: process', (kind) => {
  test('exits with operations in flight by process.exit()', async () => {
    expect(await run('exit', kind)).toMatchObject({ code: 7, signal: null, stderr: '' })
  })

  test('ends by itself when the driver does not hold it', async () => {
    expect(await run('idle', kind)).toMatchObject({ code: 0, signal: null, stderr: '' })
  })

  test('sends what was queued before process.exit()', async () => {
    const seen: Buffer[] = []
    const server = net.createServer((socket) => {
      socket.on('data', (chunk) => seen.push(chunk))
      socket.on('error', () => {})
    })
    server.listen(0, '127.0.0.1')
    await emitted(server, 'listening')
    const ended = new Promise((resolve) => {
      server.once('connection', (socket) => socket.once('close', resolve))
    })
    const { port } = server.address() as net.AddressInfo
    expect(await run('write-exit', kind, { args: [String(port)] })).toMatchObject({
      code: 0,
      stderr: '',
    })
    await within('close at the peer', ended)
    expect(Buffer.concat(seen).toString()).toBe('last words')
    server.close()
  })
})

describe.each(kinds)('%s: dispatch', (kind) => {
  test('that throws is reported, and goes on with the next completion after the ticks', async () => {
    const { code, said } = await run('throw', kind)
    expect(code).toBe(0)
    const { ids, thrown, order } = said[0] as { ids: number[]; thrown: string[]; order: unknown[] }
    expect(thrown).toEqual(ids.flatMap((id) => [`at ${id}`, `tick of ${id}`]))
    expect(order).toEqual(ids.flatMap((id) => [id, `tick of ${id}`]))
  })

  test('that throws without a handler ends the process as any callback would', async () => {
    const { code, stderr } = await run('throw-unhandled', kind)
    expect(code).toBe(1)
    expect(stderr).toContain('Error: from dispatch')
  })

  test('runs in a callback scope: ticks and microtasks follow, also after one that throws', async () => {
    const { said } = await run('ticks', kind)
    expect(said[0]).toEqual(['dispatch', 'tick 1', 'thrown', 'tick 2', 'microtask'])
  })
})

describe.each(kinds)('%s: descriptors', (kind) => {
  test('used up refuse connections without an error, without spinning, and accepting resumes', async () => {
    const { code, said, stderr } = await run('descriptors', kind, { limit: 64 })
    expect(stderr).toBe('')
    expect(code).toBe(0)
    const result = said[0] as Record<string, number> & { errors: number[] }
    expect(result.errors).toEqual([])
    expect(result.closed).toBeGreaterThan(0)
    expect(result.accepts! + result.closed!).toBeGreaterThanOrEqual(20)
    expect(result.more).toBe(1)
    expect(result.batches).toBeLessThan(50)
    expect(result.busyMs).toBeLessThan(400)
  })
})
