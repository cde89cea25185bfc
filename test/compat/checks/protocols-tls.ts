/**
 * TLS of Node's own over the judged end. A record that is lost, repeated or late ends the connection: the peer's decryption
 * is the strictest reader there is.
 */
import * as assert from 'node:assert/strict'
import type { TLSSocket } from 'node:tls'
import type { Check, CheckContext } from '../check'
import { Recorder } from '../observe'
import { overClient, overServer } from '../subjects/tls'
import { assertWire, payload } from '../wire'

const area = 'protocols'
const length = 2_000_000

/** Pauses and resumes for as long as bytes come. */
function limp(stream: TLSSocket): void {
  let isPaused = false
  let count = 0
  stream.on('data', () => {
    if (isPaused || ++count % 5 !== 0) return
    isPaused = true
    stream.pause()
    setImmediate(() =>
      setImmediate(() => {
        isPaused = false
        stream.resume()
      }),
    )
  })
}

async function bothWays(
  context: CheckContext,
  secureA: TLSSocket,
  secureB: TLSSocket,
): Promise<void> {
  const seenA = new Recorder(secureA, (what) => context.note(`TLS of a: ${what}`)).read()
  const seenB = new Recorder(secureB, (what) => context.note(`TLS of b: ${what}`)).read()
  const failed = (seen: Recorder): Promise<never> =>
    seen.seen('error').then(() => assert.fail(`TLS failed: ${seen.errors[0]!.code}`))
  limp(secureA)
  limp(secureB)
  for (let at = 0; at < length; at += 50_000) {
    secureA.write(payload(50_000, 1, at))
    secureB.write(payload(50_000, 2, at))
  }
  const all = Promise.all([seenA.received(length), seenB.received(length)])
  await context
    .within(Promise.race([all, failed(seenA), failed(seenB)]), 'all bytes through TLS')
    .finally(() => context.note(`${seenA.length} bytes at a, ${seenB.length} at b`))
  assertWire(seenB.bytes, payload(length, 1), 'TLS from a to b')
  assertWire(seenA.bytes, payload(length, 2), 'TLS from b to a')
}

function secured(context: CheckContext, ...sockets: TLSSocket[]): Promise<unknown> {
  const all = sockets.map(
    (socket) =>
      new Promise<void>((resolve, reject) => {
        socket.once('secure', resolve)
        socket.once('error', (error: NodeJS.ErrnoException) =>
          reject(new assert.AssertionError({ message: `no TLS handshake: ${error.message}` })),
        )
      }),
  )
  context.after(() => {
    for (const socket of sockets) socket.on('error', () => {}).destroy()
  })
  return context.within(Promise.all(all), 'the TLS handshake')
}

export const tlsChecks: readonly Check[] = [
  {
    id: 'W3-51',
    rule: 'W3',
    strength: 'required',
    area,
    requirement:
      'a TLS server on it exchanges 2 MB each way with pauses: no record is lost or repeated',
    intent: 'one record twice, or out of turn, is a bad record MAC, and the connection is gone',
    hazards: [9],
    async run(context) {
      const { a, b } = await context.pair({ smallBuffers: true })
      const [secureA, secureB] = [overServer(a), overClient(b)]
      await secured(context, secureA, secureB)
      await bothWays(context, secureA, secureB)
    },
  },
  {
    id: 'W3-52',
    rule: 'W3',
    strength: 'required',
    area,
    requirement:
      'a TLS client on it exchanges 2 MB each way with pauses: no record is lost or repeated',
    intent: 'a database client over TLS, or a proxy towards its upstream',
    hazards: [9],
    async run(context) {
      const { a, b } = await context.pair({ smallBuffers: true })
      const [secureA, secureB] = [overClient(a), overServer(b)]
      await secured(context, secureA, secureB)
      await bothWays(context, secureA, secureB)
    },
  },
  {
    id: 'R1-50',
    rule: 'R1',
    strength: 'required',
    area,
    requirement: 'STARTTLS: what was read ahead with the last plain line is the beginning of TLS',
    intent: 'SMTP, IMAP, PostgreSQL and MySQL switch to TLS on a connection in use',
    hazards: [55],
    async run(context) {
      const { a, b } = await context.pair()
      const line = 'STARTTLS\r\n'
      const onReadable = (): void => {}
      a.on('readable', onReadable)
      b.write(line)
      const secureB = overClient(b)
      await context.until(() => a.readableLength > line.length, 'bytes after the line')
      const read = a.read() as Buffer
      assert.equal(read.toString('latin1', 0, line.length), line, 'the plain line')
      a.off('readable', onReadable)
      a.unshift(read.subarray(line.length))
      const secureA = overServer(a)
      await secured(context, secureA, secureB).catch((error: Error) => {
        assert.fail(`bytes read ahead at STARTTLS were lost: ${error.message}`)
      })
      const seenA = new Recorder(secureA, () => {}).read()
      secureB.write(payload(100_000, 1))
      await context.within(seenA.received(100_000), 'bytes after STARTTLS')
      assertWire(seenA.bytes, payload(100_000, 1), 'the bytes after STARTTLS')
    },
  },
  {
    id: 'R2-50',
    rule: 'R2',
    strength: 'required',
    area,
    requirement: 'a TLS socket that nobody reads stops the connection below: the peer is held back',
    intent: 'an upload to a slow disk must not end up in memory',
    hazards: [48],
    async run(context) {
      const { a, b } = await context.pair({ smallBuffers: true })
      const [secureA, secureB] = [overServer(a), overClient(b)]
      await secured(context, secureA, secureB)
      const total = 8_000_000
      let accepted = 0
      const part = 64 * 1024
      const send = (): void => {
        if (accepted >= total || secureB.destroyed) return
        secureB.write(payload(part, 1, accepted), (error) => {
          if (error) return
          accepted += part
          // A turn for each: the other end lives in this process, too.
          setImmediate(send)
        })
      }
      send()
      let before = -1
      while (before !== accepted && accepted < total) {
        before = accepted
        await context.silence()
      }
      assert.ok(
        accepted < total / 2,
        `${accepted} bytes were taken for a reader that does not read`,
      )
      const seenA = new Recorder(secureA, () => {}).read()
      await context.within(seenA.received(accepted + part), 'what had been held back')
      const { bytes } = seenA
      assertWire(bytes, payload(bytes.length, 1), 'what had been held back')
    },
  },
]
