/** setsockopt(2) for socket buffers, which Node does not have: the addon's. Without the addon buffers stay as they are. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'

type SetBufferBytes = (fd: number, sendBytes: number, receiveBytes: number) => number

/** Where the addon is; undefined where none is built. */
export const addonPath = ['../..', '../../..']
  .map((up) => join(__dirname, up, 'native', 'build', 'Release', 'uring_net.node'))
  .find((path) => existsSync(path))

/** SO_SNDBUF and SO_RCVBUF, socket(7); 0 leaves one as it is. */
export const setBufferBytes = ((): SetBufferBytes => {
  if (addonPath === undefined) return () => 0
  try {
    // eslint-disable-next-line @typescript-eslint/no-require-imports -- a .node file can only be required
    return (require(addonPath) as { setBufferBytes: SetBufferBytes }).setBufferBytes
  } catch {
    // Addons may be refused here; node:net can be judged without.
    return () => 0
  }
})()
