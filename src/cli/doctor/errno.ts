/** The errors that io_uring_setup(2) and the self-test may end with, as -errno (Linux numbering, errno(3)). */
import { getSystemErrorName } from 'node:util'

export const Errno = {
  EPERM: -1,
  ENOMEM: -12,
  EACCES: -13,
  ENFILE: -23,
  EMFILE: -24,
  ENOSYS: -38,
} as const

/** 'EPERM'; 'errno 62' where libuv has no name for it. */
export function errnoName(errno: number): string {
  const name = getSystemErrorName(errno)
  return /^E[A-Z0-9]+$/.test(name) ? name : `errno ${-errno}`
}
