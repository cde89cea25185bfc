/** The ends of processes, workers and callbacks: drivers leave nothing behind and break nothing. */
import { once } from 'node:events'
import * as net from 'node:net'
import { Worker } from 'node:worker_threads'
import { within } from '../deadlines'
import { closeRigs, collect, descriptors, digest, emitted, kinds, makeRig, pattern } from './rig'
import { env, program, run } from './run-child'

afterEach(closeRigs)

function startWorker(name: string, kind: string): Worker {
  return new Worker(program, { workerData: [name, kind], env })
}

/** A server, and its first connection. */
async function serve(): Promise<{ server: net.Server; port: number; socket: Promise<net.Socket> }> {
  const server = net.createServer({ allowHalfOpen: true })
  const socket = new Promise<net.Socket>((resolve) => server.once('connection', resolve))
  server.listen(0, '127.0.0.1')
  await emitted(server, 'listening')
  return { server, port: (server.address() as net.AddressInfo).port, socket }
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

  test.each([
    ['idle', 0],
    ['exit', 7],
  ])('that ends with operations in flight (%s) leaves no descriptor behind', async (name, code) => {
    const end = async () => {
      const worker = startWorker(name, kind)
      const exited = once(worker, 'exit')
      await within('worker', once(worker, 'message'))
      return within('exit', exited)
    }
    await end()
    const before = descriptors()
    for (let round = 0; round < 3; round++) expect(await end()).toEqual([code])
    expect(descriptors()).toBe(before)
  })

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
    expect(await run('exit', kind)).toEqual({ code: 7, signal: null, said: ['ready'], stderr: '' })
  })

  test('ends by itself when the driver does not hold it', async () => {
    expect(await run('idle', kind)).toEqual({ code: 0, signal: null, said: ['ready'], stderr: '' })
  })

  test('is held by a reference to the driver until that is given up', async () => {
    const { server, port, socket } = await serve()
    let isEnded = false
    const ended = run('held', kind, {
      args: [String(port)],
      onSaid: () => {
        // With nothing but the driver to hold it, it has waited for this.
        expect(isEnded).toBe(false)
        void socket.then((peer) => peer.write('go'))
      },
    }).finally(() => (isEnded = true))
    expect(await ended).toEqual({ code: 0, signal: null, said: ['held'], stderr: '' })
    ;(await socket).destroy()
    server.close()
  })

  test.each([
    ['queued', 'write-exit', []],
    ['queued and offered', 'offer-exit', [5]],
  ])('sends what was %s before process.exit()', async (_, name, said) => {
    const { server, port, socket } = await serve()
    const seen = socket.then((each) => collect(each).finally(() => each.destroy()))
    expect(await run(name, kind, { args: [String(port)] })).toEqual({
      code: 0,
      signal: null,
      said,
      stderr: '',
    })
    expect((await seen).toString()).toBe('last words')
    server.close()
  })
})

describe.each(kinds)('%s: dispatch', (kind) => {
  test('that throws is reported, and goes on with the next completion after the ticks', async () => {
    const { code, said } = await run('throw', kind)
    expect(code).toBe(0)
    const { tokens, thrown, order } = said[0] as Record<string, (number | string)[]>
    expect(thrown).toEqual(tokens!.flatMap((token) => [`at ${token}`, `tick of ${token}`]))
    expect(order).toEqual(tokens!.flatMap((token) => [token, `tick of ${token}`]))
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
    const { code, said, stderr } = await run('descriptors', kind, { ulimit: 'ulimit -n 64' })
    expect(stderr).toBe('')
    expect(code).toBe(0)
    const result = said[0] as Record<string, number> & { errors: number[] }
    expect(result.errors).toEqual([])
    expect(result.closed).toBeGreaterThan(0)
    expect(result.accepts! + result.closed!).toBe(20)
    expect(result.more).toBe(1)
    expect(result.batches).toBeLessThan(50)
    expect(result.turns).toBeLessThan(50)
  })
})

describe.each(kinds)('%s: a descriptor that somebody else opened', (kind) => {
  /** What the child has said of the descriptor, and that it was closed in the end. */
  const saidOf = (wasNonblocking: boolean) => [
    { wasNonblocking, id: expect.any(Number), fd: 3 },
    { isOpen: false, result: 0 },
  ]

  test('becomes an endpoint, and its descriptor the driver’s', async () => {
    let seen: Promise<Buffer> | undefined
    const bytes = pattern(10_000)
    const ended = await run('adopt', kind, {
      stdio: ['pipe'],
      onSpawn: (child) => {
        const socket = child.stdio[3] as net.Socket
        const chunks: Buffer[] = []
        let length = 0
        seen = within(
          'the echo',
          new Promise((resolve) => {
            socket.on('data', (chunk) => {
              chunks.push(chunk)
              length += chunk.length
              if (length < bytes.length) return
              socket.destroy()
              resolve(Buffer.concat(chunks))
            })
          }),
        )
        // As much as one buffer of the child's at a time.
        socket.write(bytes.subarray(0, 4000))
        socket.once('data', () => socket.write(bytes.subarray(4000)))
      },
    })
    expect(digest(await seen!)).toBe(digest(bytes))
    expect(ended).toEqual({ code: 0, signal: null, said: saidOf(false), stderr: '' })
  })

  test('works also if it was nonblocking', async () => {
    const { server, port, socket } = await serve()
    const own = net.connect(port, '127.0.0.1')
    await emitted(own, 'connect')
    const peer = await socket
    const ended = run('adopt', kind, { stdio: [own], onSpawn: () => own.destroy() })
    // Nothing to receive at first: it has to wait, whatever the descriptor was.
    const seen: Buffer[] = []
    peer.on('data', (chunk) => {
      seen.push(chunk)
      if (Buffer.concat(seen).length === 5) peer.end()
    })
    peer.write('hello')
    expect(await ended).toEqual({ code: 0, signal: null, said: saidOf(true), stderr: '' })
    expect(Buffer.concat(seen).toString()).toBe('hello')
    server.close()
  })
})

describe.each(kinds)('%s: numbers that would let the kernel write where it must not', (kind) => {
  test.each([
    'opcode',
    'connect',
    'token 0',
    'receive without token',
    'token in flight',
    'provided index below 0',
    'provided index that was never registered',
    'provided index with no memory',
    'provided index above 65535',
    'piece out of bounds',
    'piece of no memory',
  ])('end the process at once: %s', async (what) => {
    const { signal, code, said, stderr } = await run('abort', kind, { args: [what] })
    expect(said).toEqual([])
    expect(stderr).toContain('broken invariant')
    expect(signal ?? code).toBe('SIGABRT')
  })

  test('are what ends it', async () => {
    expect(await run('abort', kind, { args: ['nothing'] })).toEqual({
      code: 0,
      signal: null,
      said: ['went on'],
      stderr: '',
    })
  })
})
