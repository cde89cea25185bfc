/** The version of this package, from its own package.json. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

/** Three levels above dist/src/cli, where this file runs. */
export const packageRoot = join(__dirname, '..', '..', '..')

export function packageVersion(): string {
  const manifest = JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8')) as {
    version: string
  }
  return manifest.version
}
