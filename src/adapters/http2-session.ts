/**
 * The one moment of an Http2Session that a handle of ours has to know of: its destruction. The session says goodbye
 * (GOAWAY) then, unless a write is in flight; over libuv it seldom is, for most end inside the call, while a JSStream's
 * writes end later by nature. Owns nothing.
 */

type Destroy = (this: object, ...args: unknown[]) => void

/** Has `callback` called before the native session on `socket` is destroyed. False: there is no session on it yet. */
export function beforeDestroy(socket: object, callback: () => void): boolean {
  // By what it looks like: the name of the property has been another in every other version of Node.
  for (const key of Reflect.ownKeys(socket)) {
    const handle = nativeOf((socket as Record<string | symbol, unknown>)[key])
    if (handle === undefined) continue
    const { destroy } = handle
    const value: Destroy = function (...args) {
      callback()
      destroy.apply(this, args)
    }
    Object.defineProperty(handle, 'destroy', { value, writable: true, configurable: true })
    return true
  }
  return false
}

interface NativeSession {
  destroy: Destroy
}

/** The native session behind an Http2Session; undefined for anything else. */
function nativeOf(session: unknown): NativeSession | undefined {
  if (typeof session !== 'object' || session === null) return undefined
  const symbol = Object.getOwnPropertySymbols(session).find(
    ({ description }) => description === 'kHandle',
  )
  if (symbol === undefined) return undefined
  const handle = (session as Record<symbol, unknown>)[symbol] as
    (Partial<NativeSession> & { consume?: unknown }) | null | undefined
  const isNative = typeof handle?.consume === 'function' && typeof handle.destroy === 'function'
  return isNative ? (handle as NativeSession) : undefined
}
