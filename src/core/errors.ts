/**
 * Errors of this package: kernel errors in Node's own shape (code, errno, syscall, address, port), and `ERR_URING_*` for
 * what only this package can refuse. It never decides what to do about an error.
 */
import { getSystemErrorName } from 'node:util'

/** Codes of errors that have no counterpart in Node. */
export type UringErrorCode =
  /** A lease was used while the kernel held its bytes. */
  | 'ERR_URING_LEASE_IN_FLIGHT'
  /** A lease was used after it was released. */
  | 'ERR_URING_LEASE_RELEASED'
  /** The ArrayBuffer behind a lease was transferred; its block is lost to the pool. */
  | 'ERR_URING_LEASE_TRANSFERRED'
  /** A connection was used after it was closed, or after an adapter took it over. */
  | 'ERR_URING_CLOSED'
  | 'ERR_URING_HANDED_OFF'
  /** A second receive() was started while one waits. */
  | 'ERR_URING_RECEIVE_PENDING'
  /** Something was sent while a sendFile(), a chain or a pipeTo() is under way. */
  | 'ERR_URING_SEND_PENDING'
  /** A link was added where it cannot stand, or a chain was used after it was submitted. */
  | 'ERR_URING_CHAIN'
  /** The forced driver cannot run here. */
  | 'ERR_URING_DRIVER'
  /** A size in the environment is none, or configure() came too late or does not know the option. */
  | 'ERR_URING_OPTIONS'
  /** A thread of serve() ended by itself. */
  | 'ERR_URING_THREAD_ENDED'
  /** Threads of serve() crash more often than they may be replaced. */
  | 'ERR_URING_CRASHES'

/** An error of this package. Recognised by `code`, also across realms. */
export class UringError extends Error {
  /** Which one; docs/errors.md says what to do about each. */
  readonly code: UringErrorCode

  constructor(code: UringErrorCode, message: string) {
    super(message)
    this.name = 'UringError'
    this.code = code
  }
}

/** A failed system call, as Node reports one. */
export interface SystemError extends Error {
  /** Its name, like ECONNRESET (errno(3)). */
  code: string
  /** Negative, as in Node. */
  errno: number
  /** What failed: read, write, connect, listen and others, as Node names them. */
  syscall: string
  /** The address or path, where there is one. */
  address?: string
  /** The port, where there is one. */
  port?: number
}

/** Makes the error that Node makes for the same -errno: `read ECONNRESET` {errno, code, syscall}. */
export function systemError(
  errno: number,
  syscall: string,
  address?: string,
  port?: number,
): SystemError {
  const code = getSystemErrorName(errno)
  const where = address === undefined ? '' : port ? ` ${address}:${port}` : ` ${address}`
  const error = new Error(`${syscall} ${code}${where}`) as SystemError
  error.errno = errno
  error.code = code
  error.syscall = syscall
  if (address !== undefined) error.address = address
  if (port) error.port = port
  return error
}

/** Node's error for an argument of the wrong type. */
export function invalidArgument(name: string, expected: string, value: unknown): TypeError {
  const is =
    typeof value === 'object' && value !== null ? 'an object of another kind' : String(value)
  return Object.assign(new TypeError(`"${name}" must be ${expected}. Received ${is}`), {
    code: 'ERR_INVALID_ARG_TYPE',
  })
}

/** Node's error for a number out of range. */
export function outOfRange(message: string): RangeError {
  return Object.assign(new RangeError(message), { code: 'ERR_OUT_OF_RANGE' })
}

/** Thrown where only a defect of this package can lead. */
export function invariant(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Error(`uring-net: broken invariant: ${what}`)
}

/** -errno values that the core itself tells apart (Linux numbering, errno(3)). */
export const Errno = {
  EAGAIN: -11,
  ENOBUFS: -105,
  ECANCELED: -125,
  EPIPE: -32,
  ENOTCONN: -107,
  EBADF: -9,
  EEXIST: -17,
  EINVAL: -22,
  ETIMEDOUT: -110,
  EIO: -5,
  ENOSYS: -38,
} as const
