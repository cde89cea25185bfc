/** What each thread of serve.ts serves. */
import { createServer } from 'node:http'
import type { Server } from 'node:http'
import { driver } from '../src/index'
import type { WorkerContext } from '../src/serve/index'

// eslint-disable-next-line no-restricted-syntax -- serve() calls the default export
export default function worker({ thread }: WorkerContext): Server {
  return createServer((_request, response) => {
    response.end(`hello from thread ${thread}, driver ${driver.name}\n`)
  })
}
