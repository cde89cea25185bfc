/*
 * Other versions of Node to run things on: `--node 24` names the newest one of npm's packages for
 * that line, `--node /path/to/node` one that is there. Installed once, below node_modules/.cache.
 */
import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { npmCli } from './native.mjs'
import { mustRun, root, SetupError, step } from './process.mjs'

/** Takes `--node WHICH` out of the arguments: the executable, and the other arguments. */
export async function takeNode(args) {
  const at = args.indexOf('--node')
  if (at === -1) return { node: process.execPath, rest: args }
  const which = args[at + 1]
  if (which === undefined) throw new SetupError('--node needs a version (24) or a path')
  return { node: await nodeOf(which), rest: args.toSpliced(at, 2) }
}

/** The executable of a version of Node, like 24, or of a path. */
export async function nodeOf(which) {
  if (/^\d+(\.\d+){0,2}$/.test(which)) return ofVersion(which)
  const path = resolve(which)
  if (!existsSync(path)) throw new SetupError(`--node ${which}: neither a version nor a file`)
  return path
}

async function ofVersion(version) {
  // The package that npm's `node` installs by a script; this one has no script.
  const name = `node-${process.platform}-${process.arch}`
  const prefix = join(root, 'node_modules/.cache/uring-net', `node-${version}`)
  const path = join(prefix, 'node_modules', name, 'bin/node')
  if (!existsSync(path)) {
    const args = ['install', '--prefix', prefix, '--no-save', '--no-audit', '--no-fund']
    await step(`Node ${version} from npm`, async () =>
      mustRun('npm install', process.execPath, [
        await npmCli(),
        ...args,
        '--loglevel=error',
        `${name}@${version}`,
      ]),
    )
  }
  return path
}
