/** TLS over pairs. Knows nothing of what carries it: that is what is judged, together with Node's own TLS on it. */
import { once } from 'node:events'
import type { Socket } from 'node:net'
import * as tls from 'node:tls'
import { cert, key } from './certificate'
import { destroyAll } from './pairs'
import type { MakePair } from './pairs'

/** Not in the types of TLSSocket; it hands its options to net.Socket. */
interface TlsOptions {
  highWaterMark?: number
}

/** Makes pairs of TLSSockets over those of `below`; `a` stands on `a`. */
export function tlsPairs(below: MakePair, role: 'server' | 'client'): MakePair {
  return async (options = {}) => {
    const { highWaterMark } = options
    const lower = await below(options)
    const ofA: TlsOptions = highWaterMark === undefined ? {} : { highWaterMark }
    const [a, b] =
      role === 'server'
        ? [overServer(lower.a, ofA), overClient(lower.b)]
        : [overClient(lower.a, ofA), overServer(lower.b)]
    try {
      await Promise.all([once(a, 'secure'), once(b, 'secure')])
    } catch (error) {
      destroyAll(a, b)
      await lower.stop()
      throw error
    }
    return {
      a,
      b,
      async stop() {
        destroyAll(a, b)
        await lower.stop()
      },
    }
  }
}

export function overServer(socket: Socket, options: TlsOptions = {}): tls.TLSSocket {
  const secured = new tls.TLSSocket(socket, { isServer: true, key, cert, ...options })
  // As tls.Server does, which cannot be told a highWaterMark; http2 waits for it.
  secured.once('secure', () => Object.assign(secured, { secureConnecting: false }))
  return secured
}

/** As tls.connect() makes it; whom the certificate names is nobody's question here. */
export function overClient(socket: Socket, options: TlsOptions = {}): tls.TLSSocket {
  return tls.connect({ socket, rejectUnauthorized: false, ...options })
}
