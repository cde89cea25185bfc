/**
 * Static files by sendFile: `node dist/examples/static-files.js PORT DIRECTORY` answers HTTP/1.1 GET and HEAD, and one
 * byte range of a request. It shows the low-level API; a server for the world needs more of HTTP than this.
 */
import { open, realpath } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { join, sep } from 'node:path'
import { driver, listen, orThrow } from '../src/core/index'
import type { Connection } from '../src/core/index'

const headBytesMax = 16_384
/** Milliseconds that a client may be silent between two requests, or not take what it asked for. */
const idleTimeout = 30_000

interface Request {
  method: string
  path: string
  range: string | undefined
  isLast: boolean
}

interface Range {
  offset: number
  length: number
}

/** Requests one after the other, pipelined ones too; ends with the peer's FIN. Throws on what is no request. */
async function* requests(connection: Connection): AsyncGenerator<Request> {
  let text = ''
  for (;;) {
    const end = text.indexOf('\r\n\r\n')
    if (end !== -1) {
      yield parse(text.slice(0, end))
      text = text.slice(end + 4)
    } else if (text.length > headBytesMax) {
      throw new Error('the head of a request is too long')
    } else {
      using lease = await connection.receive({ timeout: idleTimeout })
      if (lease === null) return
      text += lease.bytes.toString('latin1')
    }
  }
}

function parse(head: string): Request {
  const [, method, path] = /^(GET|HEAD) (\/\S*) HTTP\/1\.1\r\n/.exec(`${head}\r\n`) ?? []
  if (method === undefined || path === undefined) throw new Error('not a GET or HEAD of HTTP/1.1')
  const range = /\r\nrange: *bytes=(\d*-\d*) *(?:\r|$)/i.exec(head)?.[1]
  const isLast = /\r\nconnection: *close/i.test(head)
  return { method, path, range, isLast }
}

/** The part of a file that a Range header names (RFC 9110, 14.1.2); undefined: the file does not have it. */
function partOf(size: number, range: string | undefined): Range | undefined {
  if (range === undefined || range === '-') return { offset: 0, length: size }
  const [first, last] = range.split('-') as [string, string]
  if (first === '') {
    const length = Math.min(Number(last), size)
    return length > 0 ? { offset: size - length, length } : undefined
  }
  const offset = Number(first)
  const end = last === '' ? size : Math.min(Number(last) + 1, size)
  return offset < end ? { offset, length: end - offset } : undefined
}

/** The file below the directory; undefined when there is none. */
async function find(directory: string, path: string): Promise<FileHandle | undefined> {
  try {
    const name = decodeURIComponent(path.split('?', 1)[0]!)
    const real = await realpath(join(directory, name))
    if (!real.startsWith(directory + sep)) return undefined
    return await open(real)
  } catch {
    return undefined
  }
}

async function answer(connection: Connection, directory: string, request: Request): Promise<void> {
  const { method, path, range } = request
  await using file = await find(directory, path)
  const stat = await file?.stat()
  if (file === undefined || !stat?.isFile()) return say(connection, '404 Not Found')
  const part = partOf(stat.size, range)
  if (part === undefined) {
    return say(connection, '416 Range Not Satisfiable', [`Content-Range: bytes */${stat.size}`])
  }
  const isPart = part.length < stat.size
  const last = part.offset + part.length - 1
  const headers = [`Content-Length: ${part.length}`, 'Accept-Ranges: bytes']
  if (isPart) headers.push(`Content-Range: bytes ${part.offset}-${last}/${stat.size}`)
  await send(connection, isPart ? '206 Partial Content' : '200 OK', headers)
  if (method === 'HEAD' || part.length === 0) return
  await sendPart(connection, file, part)
}

/** As long as it takes, but not while the client takes nothing. */
async function sendPart(connection: Connection, file: FileHandle, part: Range): Promise<void> {
  const stuck = new AbortController()
  const timer = setTimeout(() => stuck.abort(), idleTimeout)
  const onProgress = (): void => void timer.refresh()
  try {
    orThrow(await connection.sendFile(file, { ...part, onProgress, signal: stuck.signal }))
  } finally {
    clearTimeout(timer)
  }
}

async function say(connection: Connection, status: string, headers: string[] = []): Promise<void> {
  await send(connection, status, [...headers, 'Content-Length: 0'])
}

async function send(connection: Connection, status: string, headers: string[]): Promise<void> {
  const head = `HTTP/1.1 ${[status, ...headers].join('\r\n')}\r\n\r\n`
  orThrow(await connection.send(Buffer.from(head, 'latin1'), { timeout: idleTimeout }))
}

async function serve(accepted: Connection, directory: string): Promise<void> {
  await using connection = accepted
  try {
    for await (const request of requests(connection)) {
      await answer(connection, directory, request)
      if (request.isLast) break
    }
  } catch (error) {
    await say(connection, '400 Bad Request', ['Connection: close']).catch(() => {})
    throw error
  }
  await connection.shutdown()
}

async function main(port: number, directory: string): Promise<void> {
  const root = await realpath(directory)
  await using listener = await listen({ port, host: '127.0.0.1' })
  console.log(`files on 127.0.0.1:${listener.localName!.port}, driver ${driver.name}`)
  for await (const connection of listener) {
    serve(connection, root).catch((error: Error) => console.error(error.message))
  }
}

const [port = 7000, directory = '.'] = process.argv.slice(2)
void main(Number(port), String(directory))
