/** The ownership API over an acceptor: bounded waiting, nothing untaken is leaked, abort and close. */
import { requireDriver } from '../../src/core/active'
import type { Connection } from '../../src/core/connection'
import type { Driver } from '../../src/core/driver'
import type { Listener } from '../../src/core/listener'
import { listen } from '../../src/core/listener'
import type { ScriptedKernel } from './scripted-kernel'
import { errno } from './scripted-kernel'
import { makeDriver, settle } from './fixtures'

// Ticks run by Node only: run from inside a test they would settle promises in the middle of its statements.
jest.mock('../../src/core/ticks', () => ({ runTicks: jest.fn() }))
jest.mock('../../src/core/active', () => ({ requireDriver: jest.fn() }))

/** As in listener.ts. */
const waitingMax = 128

let kernel: ScriptedKernel
let driver: Driver
let id: number
let listener: Listener

function arrive(count: number): number[] {
  const posted = Array.from({ length: count }, () => kernel.accepted(id))
  kernel.deliver(posted)
  return posted.map(({ result }) => result)
}

beforeEach(async () => {
  ;({ kernel, driver } = makeDriver())
  jest.mocked(requireDriver).mockReturnValue(driver)
  listener = await listen({ port: 0, host: '127.0.0.1' })
  kernel.taken()
  id = kernel.log[0]!.id
})

afterEach(async () => {
  await settle()
  kernel.assertClean()
  expect(kernel.uncaught).toEqual([])
})

describe('accept', () => {
  test('connections come in the order they arrived, waited for or not', async () => {
    const waiting = [listener.accept(), listener.accept()]
    const ids = arrive(4)
    const connections = [
      ...(await Promise.all(waiting)),
      await listener.accept(),
      await listener.accept(),
    ]
    expect(connections.map((connection) => connection!.channel.id)).toEqual(ids)
  })

  test('the number that waits here is bounded: accepting pauses, and resumes when one is taken (R2)', async () => {
    arrive(waitingMax - 1)
    expect(kernel.isCancelRequested(id, 'accept')).toBe(false)
    arrive(1)
    expect(kernel.isCancelRequested(id, 'accept')).toBe(true)
    kernel.deliver(kernel.acceptEnded(id, errno('ECANCELED')))
    expect(kernel.isInFlight(id, 'accept')).toBe(false)
    await listener.accept()
    expect(kernel.isInFlight(id, 'accept')).toBe(true)
  })

  test('what arrives between the pause and its completion is not lost', async () => {
    const ids = [...arrive(waitingMax), ...arrive(5)]
    kernel.deliver(kernel.acceptEnded(id, errno('ECANCELED')))
    for (let i = 0; i < 5; i++) await listener.accept()
    expect(kernel.isInFlight(id, 'accept')).toBe(false)
    for (const expected of ids.slice(5)) {
      expect((await listener.accept())!.channel.id).toBe(expected)
    }
    expect(kernel.isInFlight(id, 'accept')).toBe(true)
  })

  test('an error rejects one who waits, and not again as long as it lasts; accepting goes on', async () => {
    const waiting = listener.accept()
    const next = listener.accept()
    kernel.deliver(kernel.acceptEnded(id, errno('EMFILE')))
    await expect(waiting).rejects.toMatchObject({ code: 'EMFILE', syscall: 'accept' })
    while (!kernel.isInFlight(id, 'accept')) await settle()
    kernel.deliver(kernel.acceptEnded(id, errno('EMFILE')))
    while (!kernel.isInFlight(id, 'accept')) await settle()
    const [expected] = arrive(1)
    expect((await next)!.channel.id).toBe(expected)
  })

  test('an error that nobody waits for is the next accept’s, once', async () => {
    kernel.deliver(kernel.acceptEnded(id, errno('ENFILE')))
    await expect(listener.accept()).rejects.toMatchObject({ code: 'ENFILE' })
    const next = listener.accept()
    while (!kernel.isInFlight(id, 'accept')) await settle()
    const [expected] = arrive(1)
    expect((await next)!.channel.id).toBe(expected)
  })

  test('after close there is no error, and none from before it', async () => {
    kernel.deliver(kernel.acceptEnded(id, errno('EMFILE')))
    const closing = listener.close()
    expect(await listener.accept()).toBeNull()
    kernel.deliver(kernel.closed(id))
    await closing
    expect(await listener.accept()).toBeNull()
  })

  test('after its deadline: rejects with ETIMEDOUT, and the connection that comes later goes to the next', async () => {
    await expect(listener.accept({ timeout: 1 })).rejects.toMatchObject({
      code: 'ETIMEDOUT',
      syscall: 'accept',
    })
    const [expected] = arrive(1)
    expect((await listener.accept())!.channel.id).toBe(expected)
  })

  test('aborted: rejects with the reason, and the connection that comes later goes to the next', async () => {
    const abort = new AbortController()
    const reason = new Error('enough')
    const aborted = listener.accept({ signal: abort.signal })
    const other = listener.accept()
    abort.abort(reason)
    await expect(aborted).rejects.toBe(reason)
    const [first, second] = arrive(2)
    expect((await other)!.channel.id).toBe(first)
    expect((await listener.accept())!.channel.id).toBe(second)
  })

  test('a signal that is aborted already takes no connection', async () => {
    const [waiting] = arrive(1)
    await expect(listener.accept({ signal: AbortSignal.abort() })).rejects.toMatchObject({
      name: 'AbortError',
    })
    expect((await listener.accept())!.channel.id).toBe(waiting)
  })
})

describe('close', () => {
  test('refuses, answers who waits with null, and resolves once the kernel is done', async () => {
    const waiting = [listener.accept(), listener.accept()]
    const closing = listener.close()
    expect(listener.close()).toBe(closing)
    expect(await Promise.all(waiting)).toEqual([null, null])
    expect(await listener.accept()).toBeNull()
    expect(kernel.log.at(-1)).toMatchObject({ op: 'close', id })
    kernel.deliver(kernel.closed(id))
    await closing
    expect(kernel.endpointCount).toBe(0)
    expect(kernel.isRef).toBe(false)
  })

  test('closes connections that nobody took, and those that come while it closes', async () => {
    const taken = listener.accept()
    const [first, ...others] = arrive(3)
    const closing = listener.close()
    const late = kernel.accepted(id)
    kernel.deliver(late)
    const untaken = [...others, late.result]
    for (const one of untaken) expect(kernel.isClosing(one)).toBe(true)
    kernel.deliver(
      untaken.flatMap((one) => kernel.closed(one)),
      kernel.closed(id),
    )
    await closing
    expect((await taken)!.channel.id).toBe(first)
    expect((await taken)!.channel.isClosing).toBe(false)
    expect(kernel.endpointCount).toBe(1)
  })

  test('leaving an iteration early closes the listener, not the connections it gave (C3)', async () => {
    let given: Connection | undefined
    const loop = (async () => {
      for await (const connection of listener) {
        given = connection
        break
      }
    })()
    await settle()
    arrive(1)
    await settle()
    expect(kernel.isClosing(id)).toBe(true)
    kernel.deliver(kernel.closed(id))
    await loop
    expect(given!.channel.isClosing).toBe(false)
  })

  test('an iteration ends when the listener is closed', async () => {
    const loop = (async () => {
      let count = 0
      for await (const _connection of listener) count++
      return count
    })()
    await settle()
    arrive(2)
    await settle()
    void listener.close()
    kernel.deliver(kernel.closed(id))
    expect(await loop).toBe(2)
  })

  test('`await using` closes', async () => {
    const scoped = (async () => {
      await using inner = listener
      expect(inner.localName).toBeUndefined()
    })()
    await settle()
    kernel.deliver(kernel.closed(id))
    await scoped
  })
})

describe('listen', () => {
  test.each(['open', 'bind', 'listen'] as const)(
    'a refused %s is an error in Node’s shape, and leaves no endpoint',
    async (step) => {
      kernel.refuses[step] = errno('EADDRINUSE')
      await expect(listen({ port: 80, host: '127.0.0.1' })).rejects.toMatchObject({
        code: 'EADDRINUSE',
        syscall: 'listen',
        address: '127.0.0.1',
        port: 80,
        message: 'listen EADDRINUSE 127.0.0.1:80',
      })
      if (step !== 'open') kernel.deliver(kernel.closed(id + 1))
      expect(kernel.endpointCount).toBe(1)
    },
  )

  test('the address is the kernel’s answer, and undefined after close', () => {
    const name = { address: '127.0.0.1', port: 4711, family: 'IPv4' as const }
    kernel.setName(id, name)
    expect(listener.localName).toEqual(name)
    void listener.close()
    expect(listener.localName).toBeUndefined()
    kernel.deliver(kernel.closed(id))
  })

  test('setRef decides whether it keeps the event loop alive', () => {
    expect(kernel.isRef).toBe(true)
    listener.setRef(false)
    expect(kernel.isRef).toBe(false)
  })
})
