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
  /** What the child gets as descriptor 3. */
  readonly inherit?: number
}

/** Runs one of child.js's programs to its end. */
async function run(name: string, kind: string, setting: Setting = {}): Promise<Ended> {
  const words = [process.execPath, program, name, kind, ...(setting.args ?? [])]
  const limit = `ulimit -n ${setting.limit ?? '$(ulimit -n)'}; exec "$@"`
  const child = spawn('sh', ['-c', limit, 'sh', ...words], {
    env,
    stdio: ['ignore', 'pipe', 'pipe', setting.inherit ?? 'ignore'],
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

describe.each(kinds)('%s: a native call', (kind) => {
  test('is made outside the batch’s scope, reports what it throws, and the rest of the batch follows', async () => {
    const { said, stderr } = await run('native-call', kind)
    expect(stderr).toBe('')
    const followed = (what: string) => [what, `tick of ${what}`, `microtask of ${what}`]
    expect(said[0]).toEqual([
      'dispatch',
      // The scope has ended before the call, and each of the two reads in it is a scope of its own.
      ...followed('completion 0'),
      ...followed('read of 1'),
      'between',
      ...followed('read of 2'),
      'dispatch',
      ...followed('completion 1'),
      'read of 3',
      'caught thrown by a read',
      'dispatch',
      'tick of read of 3',
      'microtask of read of 3',
      'completion 2',
      'completion 3',
      ...['tick', 'microtask'].flatMap((kind) => [
        `${kind} of completion 2`,
        `${kind} of completion 3`,
      ]),
      ...followed('read of 4'),
    ])
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

describe.each(kinds)('%s: adopted', (kind) => {
  test('a connection carries bytes, and closing it leaves the other holder connected', async () => {
    const rig = makeRig(kind)
    const { id, peer } = await rig.pair(false)
    const answer = emitted(peer, 'data')
    peer.write('hello')
    const { said, stderr } = await run('adopt', kind, {
      args: ['connection'],
      inherit: rig.driver.fd(id),
    })
    expect({ said, stderr }).toEqual({ said: ['closed'], stderr: '' })
    expect(String(await answer)).toBe('from the child')
    rig.command('receive', id)
    peer.write('still there')
    await rig.completion('receive', id)
    expect(rig.received(id).toString()).toBe('still there')
    peer.destroy()
  })

  test('a listener accepts, and closing it leaves the other holder listening', async () => {
    const rig = makeRig(kind)
    const { id: listener, port } = rig.listen()
    rig.command('cancel', listener, 4)
    await rig.last('accept', listener)
    const peer = net.connect(port, '127.0.0.1')
    const answer = emitted(peer, 'data')
    peer.write('hello')
    const { said, stderr } = await run('adopt', kind, {
      args: ['listener'],
      inherit: rig.driver.fd(listener),
    })
    expect({ said, stderr }).toEqual({ said: ['closed'], stderr: '' })
    expect(String(await answer)).toBe('from the child')
    rig.command('accept', listener)
    const second = net.connect(port, '127.0.0.1')
    await rig.event('connection', (e) => e.op === 'accept' && e.result > 0)
    peer.destroy()
    second.destroy()
  })
})
