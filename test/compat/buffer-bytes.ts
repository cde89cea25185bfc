/** setsockopt(2) for socket buffers, which Node does not have: the addon's. Without the addon buffers stay as they are. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'

type SetBufferBytes = (fd: number, sendBytes: number, receiveBytes: number) => number

/** Where the addon is; undefined where none is. */
export const addonPath = ((): string | undefined => {
  const folders = ['../..', '../../..'].map((up) => join(__dirname, up, 'native'))
  const folder = folders.find((path) => existsSync(path))
  try {
    // eslint-disable-next-line @typescript-eslint/no-require-imports -- it has no types
    const load = require('node-gyp-build') as { resolve(directory: string): string }
    return folder && load.resolve(folder)
  } catch {
    return undefined
  }
})()

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
