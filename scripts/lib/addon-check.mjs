/*
 * What a built addon may ask of the process that loads it: Node-API, libuv, and functions of the C
 * library that glibc 2.28 (the oldest that Node 20 runs on) and musl have. It names no library and
 * no version.
 *
 * glibc binds a name without a version to the first version that the library ever had, and to
 * today's where that came later (check_match in elf/dl-lookup.c). So an old version may be bound
 * where a program linked today would get a newer one. Each such name has to be listed here, with
 * what makes the old one right.
 */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { readElf } from './elf.mjs'

const glibcFloor = [2, 28]
const offered = ['napi_register_module_v1', 'node_api_module_get_api_version_v1']
const ofNode = /^(napi|node_api|uv)_/

const oldIsRight = {
  clock_gettime: 'the same function, before it moved from librt into libc',
  memcpy: 'the old one is memmove',
  pthread_setname_np: 'the same function, before it moved from libpthread into libc',
  pthread_sigmask: 'the same function, before it moved from libpthread into libc',
}

const libraries = {
  x64: ['/lib/x86_64-linux-gnu/libc.so.6', '/lib64/ld-linux-x86-64.so.2'],
  arm64: [
    '/usr/aarch64-linux-gnu/lib/libc.so.6',
    '/usr/aarch64-linux-gnu/lib/ld-linux-aarch64.so.1',
  ],
}

const muslLoader = '/lib/ld-musl-x86_64.so.1'

/** The glibc to compare with is Debian's. Why there is none, if so. */
export function whyNoGlibc(arch) {
  const missing = libraries[arch].filter((path) => !existsSync(path))
  return missing.length > 0 ? `${missing.join(', ')} missing` : undefined
}

/** What is wrong with an addon for that processor, a line each. */
export function problemsOf(path, arch) {
  const addon = readElf(path)
  const problems = []
  if (addon.arch !== arch) problems.push(`it is for ${addon.arch}`)
  for (const name of addon.needed) problems.push(`it needs ${name}`)
  if (addon.hasVersionNeeds) problems.push('it asks for versions of symbols')
  const exports = addon.symbols.filter(({ isDefined }) => isDefined).map(({ name }) => name)
  if (exports.sort().join() !== offered.join()) problems.push(`it offers ${exports.join(', ')}`)
  const glibc = libraries[arch].flatMap((library) => readElf(library).symbols)
  for (const name of namesOfC(addon)) {
    const problem = problemOf(name, glibc)
    if (problem !== undefined) problems.push(`${name}: ${problem}`)
  }
  return problems
}

/** The names that it looks up in the C library. A weak one may stay without an answer. */
export function namesOfC({ symbols }) {
  return symbols
    .filter(({ name, isDefined, isWeak }) => !isDefined && !isWeak && !ofNode.test(name))
    .map(({ name }) => name)
    .sort()
}

function problemOf(name, glibc) {
  const versions = glibc.filter((symbol) => symbol.isDefined && symbol.name === name)
  if (versions.length === 0) return 'glibc does not have it'
  if (!versions.some(({ version }) => isAtMostFloor(version))) {
    return `glibc has it since ${versions.map(({ version }) => version).join(', ')}`
  }
  // 1 is the library itself, 2 its first version.
  const today = versions.find(({ isHidden }) => !isHidden)
  const bound = versions.find(({ versionNumber }) => versionNumber <= 2) ?? today
  if (bound === undefined) return 'glibc has it for old programs only'
  if (bound === today || name in oldIsRight) return undefined
  return `${bound.version} is bound, not ${today?.version}: see oldIsRight`
}

function isAtMostFloor(version) {
  const [major, minor] = (version.match(/^GLIBC_(\d+)\.(\d+)/) ?? []).slice(1).map(Number)
  return major < glibcFloor[0] || (major === glibcFloor[0] && minor <= glibcFloor[1])
}

/** What musl's loader does not find, Node's own names aside; undefined where musl is not installed. */
export function unknownToMusl(path) {
  if (!existsSync(muslLoader)) return undefined
  const { stderr } = spawnSync(muslLoader, ['--preload', 'libc.so', '--list', path])
  const lines = stderr.toString().trim().split('\n').filter(Boolean)
  const missing = lines.map((line) => line.match(/: (\w+): symbol not found$/)?.[1] ?? line)
  // It cannot have Node's: a list without them means that it did not look.
  if (!missing.some((name) => ofNode.test(name))) return [`musl said: ${stderr}`]
  return missing.filter((name) => !ofNode.test(name))
}
