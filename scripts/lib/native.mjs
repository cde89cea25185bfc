/*
 * Builds the addon with the node-gyp that npm brings along, plain or with sanitizers. Owns where
 * headers and node-gyp come from and where the result lies. Never installs system packages.
 */
import { cpSync, existsSync, readFileSync, realpathSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { mustRun, capture, root, SetupError } from './process.mjs'
import { filesIn, hashOf, isStamped, writeStamp } from './stamp.mjs'

const sources = /\.(cc|h|gypi?|map)$/

/**
 * A build of the addon: `plain` is what the package loads, `sanitized` lies in a tree of its own
 * because node-gyp builds into ./build, whatever it is told.
 */
export const builds = {
  plain: { directory: 'native', gypArgs: [] },
  sanitized: { directory: 'build-asan/native', gypArgs: ['--', '-Dsanitize=1'] },
}

/** What the addon is made of, relative to the repository. */
export function addonSources() {
  return filesIn('native', sources)
}

export function addonOf({ directory }) {
  return join(root, directory, 'build', 'Release', 'uring_net.node')
}

export function isBuilt(build) {
  return existsSync(addonOf(build)) && isStamped(stampOf(build), buildHash(build))
}

export async function buildAddon(build) {
  const hash = buildHash(build)
  const cwd = join(root, build.directory)
  if (build.directory !== 'native') {
    for (const file of addonSources()) {
      cpSync(join(root, file), join(cwd, file.slice('native/'.length)))
    }
  }
  const args = [await nodeGyp(), 'rebuild', ...headerArgs(), ...build.gypArgs]
  await mustRun('the native build', process.execPath, args, {
    cwd,
    env: { ...process.env, ...build.env },
  })
  if (!existsSync(addonOf(build))) throw new SetupError(`node-gyp left no ${addonOf(build)}`)
  writeStamp(stampOf(build), hash)
}

function stampOf({ directory }) {
  return `${directory}/build/.stamp`
}

function buildHash({ gypArgs, arch = process.arch }) {
  return hashOf(addonSources(), arch, process.versions.modules, gypArgs)
}

async function nodeGyp() {
  const fromNpm = (npm) => join(npm, 'node_modules', 'node-gyp', 'bin', 'node-gyp.js')
  const candidates = [process.env.npm_config_node_gyp, fromNpm(dirname(dirname(await npmCli())))]
  const found = candidates.find((path) => path && existsSync(path))
  if (!found) throw new SetupError('node-gyp not found: it is part of npm, install npm 10 or later')
  return found
}

/** The npm that started us, else the one that belongs to this node, else the one on the PATH. */
export async function npmCli() {
  const cliIn = (modules) => join(modules, 'npm', 'bin', 'npm-cli.js')
  const started = process.env.npm_execpath
  if (started?.endsWith('npm-cli.js') && existsSync(started)) return started
  const beside = cliIn(join(dirname(dirname(realpathSync(process.execPath))), 'lib/node_modules'))
  if (existsSync(beside)) return beside
  const { code, output } = await capture('npm', ['root', '--global', '--loglevel=error'])
  if (code === 0 && existsSync(cliIn(output.trim()))) return cliIn(output.trim())
  throw new SetupError('npm not found: install the npm that belongs to this Node.js')
}

/** Headers installed beside node are used if they are of this version; else node-gyp gets them. */
function headerArgs() {
  if (process.env.npm_config_nodedir) return []
  const prefix = dirname(dirname(realpathSync(process.execPath)))
  try {
    const header = readFileSync(join(prefix, 'include/node/node_version.h'), 'utf8')
    const part = (name) => header.match(new RegExp(`#define NODE_${name}_VERSION (\\d+)`))?.[1]
    const version = ['MAJOR', 'MINOR', 'PATCH'].map(part).join('.')
    if (version === process.versions.node) return [`--nodedir=${prefix}`]
  } catch (error) {
    if (error.code !== 'ENOENT') throw error
  }
  return []
}
