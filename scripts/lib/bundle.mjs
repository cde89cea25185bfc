/*
 * Puts what every entry point shares into one file, dist/src/uring-net.js: Node takes longer to
 * find and read 26 files than to run them. Owns that file and the require calls that lead into it.
 * The modules stay modules, each run when it is first required, once in a thread whoever asks:
 * there is one driver. Entry points, and what only some of them use, stay files of their own.
 */
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join, posix } from 'node:path'
import { root, SetupError } from './process.mjs'
import { joinMaps } from './source-map.mjs'
import { filesBelow } from './stamp.mjs'

const folder = 'dist/src'
const name = 'uring-net'
/** What it loads goes into the bundle: it is what a program waits for before its own first line. */
const start = 'register'

/** tsc's calls for relative imports, and those written by hand. */
const requires = /\brequire\((["'])(\.{1,2}\/[^"']+)\1\)/g
/** What a module of the bundle cannot have, as it is no file any more. */
const refused = /\bmodule\.exports\b|\brequire\.\w|\b__filename\b|\bimport\(["']\./

/** Once, on what tsc has just written. */
export function bundle() {
  const ids = filesBelow([folder], /\.js$/).map((file) => file.slice(folder.length + 1, -3))
  const modules = new Map(ids.filter((id) => id !== name).map((id) => [id, read(`${id}.js`)]))
  const bundled = reachableFrom(start, modules)
  writeBundle(modules, bundled)
  for (const [id, text] of modules) {
    if (!bundled.has(id)) write(`${id}.js`, rewired(id, text, bundled, bundleFor(id)))
  }
  for (const id of bundled) for (const end of ['js', 'js.map']) rmSync(pathOf(`${id}.${end}`))
}

function writeBundle(modules, bundled) {
  const lines = ["'use strict'", 'const modules = {']
  const parts = []
  for (const id of bundled) {
    const text = modules
      .get(id)
      .replace(/^\/\/# sourceMappingURL=.*$/m, '')
      .replace(/\b__dirname\b/g, `\`\${__dirname}/${posix.dirname(id)}\``)
    if (refused.test(text)) throw new SetupError(`${id} has ${text.match(refused)[0]}: see bundle`)
    // In parentheses V8 compiles a function at once; without, it reads it twice.
    lines.push(`${JSON.stringify(id)}: (function (exports) {`)
    parts.push({ line: lines.length, map: mapOf(id) })
    lines.push(...rewired(id, text, bundled, 'load').trimEnd().split('\n'), '}),')
  }
  lines.push('}', ...loader.split('\n'), `//# sourceMappingURL=${name}.js.map`, '')
  write(`${name}.js.map`, JSON.stringify(joinMaps(`${name}.js`, parts)))
  write(`${name}.js`, lines.join('\n'))
}

const loader = `const loaded = {}
/** The exports of a module; as with require, those there are so far when modules require each other. */
function load(id) {
  const known = loaded[id]
  if (known !== undefined) return known
  const exports = (loaded[id] = {})
  let isRun = false
  try {
    modules[id](exports)
    isRun = true
  } finally {
    // As with require, a module that throws is run again when it is asked for again.
    if (!isRun) delete loaded[id]
  }
  return exports
}
module.exports = load`

/** The source map of a module, seen from the bundle. */
function mapOf(id) {
  const map = JSON.parse(read(`${id}.js.map`))
  return { ...map, sources: map.sources.map((path) => posix.join(posix.dirname(id), path)) }
}

function reachableFrom(id, modules, found = new Set()) {
  for (const [, , path] of modules.get(id).matchAll(requires)) {
    const target = targetOf(id, path)
    if (!modules.has(target))
      throw new SetupError(`${id} requires ${path}, which tsc did not write`)
    if (found.has(target)) continue
    found.add(target)
    reachableFrom(target, modules, found)
  }
  return found
}

/** The module with its calls for what is bundled answered by `load`. */
function rewired(id, text, bundled, load) {
  return text.replace(requires, (call, quote, path) => {
    const target = targetOf(id, path)
    return bundled.has(target) ? `${load}(${JSON.stringify(target)})` : call
  })
}

function bundleFor(id) {
  const up = '../'.repeat(id.split('/').length - 1)
  return `require(${JSON.stringify(`./${up}${name}.js`)})`
}

function targetOf(id, path) {
  return posix.join(posix.dirname(id), path)
}

function pathOf(file) {
  return join(root, folder, file)
}

function read(file) {
  return readFileSync(pathOf(file), 'utf8')
}

function write(file, text) {
  writeFileSync(pathOf(file), text)
}
