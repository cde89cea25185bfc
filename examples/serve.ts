/**
 * HTTP on all cores: one port, a thread with a ring of its own for each, and the life of a service: SIGHUP replaces the
 * threads one after the other, SIGTERM and SIGINT end them in good order. `node dist/examples/serve.js [port] [threads]`.
 */
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { serve } from '../src/serve/index'

async function main(port: number, threads: number): Promise<void> {
  const worker = join(__dirname, 'serve-worker.js')
  const cluster = await serve({ worker, port, threads, host: '127.0.0.1' })
  cluster.on('crash', (reason, thread) => console.error(`thread ${thread}: ${reason.message}`))
  process.on('SIGHUP', () => {
    cluster.restart({ timeout: 5000 }).then(
      () => console.log('restarted'),
      (error: Error) => console.error(`not restarted: ${error.message}`),
    )
  })
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.once(signal, () => {
      void cluster.stop({ timeout: 5000 }).then(async () => {
        const { accepted } = await cluster.stats()
        console.log(`stopped after ${accepted} connections`)
        process.exit()
      })
    })
  }
  console.log(`http on 127.0.0.1:${cluster.port}, ${cluster.threads} threads`)
}

void main(Number(process.argv[2] ?? 7000), Number(process.argv[3] ?? availableParallelism()))
