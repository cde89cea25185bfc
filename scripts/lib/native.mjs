/*
 * Builds the addon with the node-gyp that npm brings along, plain or with sanitizers. Owns where
 * headers and node-gyp come from and where the result lies. Never installs system packages.
 */
import { cpSync, existsSync, readFileSync, realpathSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { mustRun, capture, root, SetupError } from './process.mjs'
import { filesIn, hashOf, isStamped, writeStamp } from './stamp.mjs'

const sources = /\.(cc|h|gypi?|map)$/

/**
 * A build of the addon: `plain` is what the package loads; `sanitized` and `debug` (for a debugger:
 * with symbols and hardly optimized) lie in trees of their own because node-gyp builds into ./build,
 * whatever it is told.
 */
export const builds = {
  plain: { directory: 'native', gypArgs: [] },
  sanitized: { directory: 'build-asan/native', gypArgs: ['--', '-Dsanitize=1'] },
  debug: { directory: 'build-debug/native', gypArgs: ['--debug'], configuration: 'Debug' },
}

/** What the addon is made of, relative to the repository. */
export function addonSources() {
  return filesIn('native', sources)
}

export function addonOf({ directory, configuration = 'Release' }) {
  return join(root, directory, 'build', configuration, 'uring_net.node')
}

export function isBuilt(build) {
  return existsSync(addonOf(build)) && isStamped(stampOf(build), buildHash(build))
}

export async function buildAddon(build) {
  const hash = buildHash(build)
  const cwd = join(root, build.directory)
  if (build.directory !== 'native') copySources(build.directory)
  const args = [await nodeGyp(), 'rebuild', '--jobs=max', ...headerArgs(), ...build.gypArgs]
  await mustRun('the native build', process.execPath, args, {
    cwd,
    env: { ...process.env, ...build.env },
  })
  if (!existsSync(addonOf(build))) throw new SetupError(`node-gyp left no ${addonOf(build)}`)
  writeStamp(stampOf(build), hash)
}

/**
 * Writes the compile_commands.json of the addon, which editors and clang-tidy read, to the root of
 * the repository.
 */
export async function writeCompileCommands() {
  const { directory } = builds.debug
  copySources(directory)
  const cwd = join(root, directory)
  const args = [await nodeGyp(), 'configure', ...headerArgs(), '--', '-f', 'compile_commands_json']
  await mustRun('node-gyp configure', process.execPath, args, { cwd })
  const made = join(cwd, 'build', 'Release', 'compile_commands.json')
  const copies = readFileSync(made, 'utf8').replaceAll(`${cwd}/`, `${join(root, 'native')}/`)
  writeFileSync(join(root, 'compile_commands.json'), copies)
}

function copySources(directory) {
  for (const file of addonSources()) {
    cpSync(join(root, file), join(root, directory, file.slice('native/'.length)))
  }
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
