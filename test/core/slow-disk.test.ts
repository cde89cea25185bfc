/**
 * A disk that hangs while a file is sent. A read that the kernel has started cannot be cancelled, and it writes into memory of
 * the worker thread: that memory stays until the read has ended, as with the file requests of Node itself.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { corePath, drivers, start, until } from './real'
import { SlowDisk, slowDiskRefusal } from './slow-disk'

/** Twice as long as the driver waits for operations on sockets, before and after it shuts them down. */
const heldMs = 4000
/** What the worker's memory is known by. */
const ballastBytes = 1 << 27

/** In the worker, with both ends of the connection. */
const sending = `
  const { workerData } = require('node:worker_threads')
  const { connect, listen } = require(workerData.core)
  globalThis.ballast = Buffer.alloc(${ballastBytes}, 1)
  ;(async () => {
    const listener = await listen({ port: 0, host: '127.0.0.1' })
    const connection = await connect({ port: listener.localName.port, host: '127.0.0.1' })
    await connection.sendFile(workerData.path)
  })()`

/** Terminates the worker when it is told to. Says what has become of its memory when it is told again, and at its end. */
function program(path: string): string {
  return `
    const { Worker } = require('node:worker_threads')
    const told = () => new Promise((resolve) => require('node:fs').read(4, Buffer.alloc(1), resolve))
    print('mounted')
    const workerData = ${JSON.stringify({ core: corePath, path })}
    const worker = new Worker(${JSON.stringify(sending)}, { eval: true, workerData })
    await told()
    const before = process.memoryUsage.rss()
    const memory = () => before - process.memoryUsage.rss() > ${ballastBytes / 2} ? 'freed' : 'kept'
    const ended = worker.terminate().then(() => print('terminated:', memory()))
    await told()
    print('hanging:', memory())
    await ended`
}

const refusal = slowDiskRefusal()

describe('a disk that hangs', () => {
  if (refusal !== undefined) {
    console.warn(`not tested: no disk that hangs can be mounted here: ${refusal}`)
    test.skip('no disk that hangs can be mounted here', () => {})
    return
  }

  let disk: SlowDisk | undefined
  afterEach(async () => {
    await disk?.close()
    disk = undefined
  })

  test.each(drivers)(
    '%s: the memory of a worker that sends a file from it is freed only when the read has ended',
    async (driver) => {
      disk = await SlowDisk.open()
      const { node, flags, device } = disk.command
      const child = start(driver, program(disk.path), { node, flags, stdio: [device, 'pipe'] })
      const told = child.stdio[4] as NodeJS.WritableStream
      await until(() => child.output !== '')
      expect(child.output).toBe('mounted\n')
      disk.serve()
      await disk.hangs
      told.write('x')
      await delay(heldMs)
      told.write('x')
      await until(() => child.output !== 'mounted\n')
      expect(child.output).toBe('mounted\nhanging: kept\n')
      disk.letGo()
      expect(await child.exited).toEqual({
        output: 'mounted\nhanging: kept\nterminated: freed\n',
        code: 0,
      })
    },
  )
})
