/** A worker thread that is ended by force in the middle of a call into the addon does not take the process with it. */
import { drivers } from '../e2e/subjects'
import { library, run } from '../e2e/program'

const rounds = 20

test.each(drivers)('a worker on %s is terminated in a loop of calls', async (driver) => {
  const worker = `
    const { driver } = require(${JSON.stringify(library)})
    require('node:worker_threads').parentPort.postMessage('')
    for (;;) driver.stats()`
  const outcome = await run(
    driver,
    `const { Worker } = require('node:worker_threads'), { once } = require('node:events')
    void (async () => {
      for (let i = 0; i < ${rounds}; i++) {
        const worker = new Worker(${JSON.stringify(worker)}, { eval: true })
        await once(worker, 'message')
        await worker.terminate()
      }
      console.log('alive')
    })()`,
  )
  expect(outcome).toEqual({ stdout: 'alive\n', stderr: '', code: 0 })
})
