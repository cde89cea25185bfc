/**
 * uring-net/dashboard: a page that shows what this thread's driver does, for any HTTP server. Owns nothing: it reads the
 * counters when it is asked for them.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { threadId } from 'node:worker_threads'
import { driver } from '../adapters/driver-info'
import { page } from './page'

/** What GET …/stats.json answers with. */
export interface DashboardStats {
  /** Milliseconds since 1970. */
  time: number
  /** The active driver: name, reason, features and options. */
  driver: Pick<typeof driver, 'name' | 'reason' | 'features' | 'options'>
  /** driver.stats(). */
  stats: ReturnType<typeof driver.stats>
  /** This process and thread. `uptime` in seconds, `cpu` in microseconds used so far, `memory` resident bytes. */
  process: {
    pid: number
    threadId: number
    version: string
    uptime: number
    cpu: number
    memory: number
  }
}

/** A request listener, or a middleware of Express and its like. */
export type DashboardHandler = (
  request: IncomingMessage,
  response: ServerResponse,
  next?: (error?: unknown) => void,
) => void

/**
 * Answers GET and HEAD with the page, and those of a path that ends in `/stats.json` with its numbers. Others are passed to
 * `next`, or get 405. It tells about the process to whoever may ask: mount it where only operators come.
 *
 * @example
 * http.createServer(dashboard()).listen(9000, '127.0.0.1')
 */
export function dashboard(): DashboardHandler {
  return (request, response, next) => {
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      if (next !== undefined) return next()
      response.writeHead(405, { allow: 'GET, HEAD' })
      return void response.end()
    }
    const [path] = (request.url ?? '/').split('?', 1) as [string]
    const isStats = path.endsWith('/stats.json')
    const body = isStats ? JSON.stringify(statsNow()) : page
    response.writeHead(200, {
      'content-type': isStats ? 'application/json' : 'text/html; charset=utf-8',
      'content-length': Buffer.byteLength(body),
      'cache-control': 'no-store',
    })
    response.end(request.method === 'HEAD' ? undefined : body)
  }
}

function statsNow(): DashboardStats {
  const { user, system } = process.cpuUsage()
  const { name, reason, features, options } = driver
  return {
    time: Date.now(),
    driver: { name, reason, features, options },
    stats: driver.stats(),
    process: {
      pid: process.pid,
      threadId,
      version: process.version,
      uptime: process.uptime(),
      cpu: user + system,
      memory: process.memoryUsage.rss(),
    },
  }
}
