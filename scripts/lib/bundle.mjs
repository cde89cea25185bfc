/*
 * Has esbuild put what every entry point shares into one file, dist/src/uring-net.js: Node takes
 * longer to find and read 26 files than to run them. Owns that file and the require calls that lead
 * into it. The modules stay modules, each run when it is first required, once in a thread whoever
 * asks: there is one driver. Entry points, and what only some of them use, stay files of their own;
 * esbuild splits no CommonJS.
 */
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join, posix } from 'node:path'
import { build } from 'esbuild'
import { root, SetupError } from './process.mjs'
import { filesBelow } from './stamp.mjs'

const folder = join(root, 'dist/src')
const name = 'uring-net'
/** What it loads goes into the bundle: it is what a program waits for before its own first line. */
const start = 'register'

const settings = {
  absWorkingDir: folder,
  bundle: true,
  platform: 'node',
  target: 'node20',
  packages: 'external',
  logLevel: 'error',
}

/** Once, on what tsc has just written. */
export async function bundle() {
  const bundled = await idsLoadedBy(start)
  await writeBundle(bundled)
  for (const id of bundled) for (const end of ['js', 'js.map']) rmSync(pathOf(`${id}.${end}`))
  for (const file of filesBelow(['dist/src'], /\.js$/)) {
    const id = file.slice('dist/src/'.length, -'.js'.length)
    if (id !== name) rewire(id, bundled)
  }
}

async function idsLoadedBy(id) {
  const { metafile } = await build({
    ...settings,
    entryPoints: [`${id}.js`],
    write: false,
    metafile: true,
  })
  const ids = Object.keys(metafile.inputs).map((path) => path.slice(0, -'.js'.length))
  return new Set(ids.filter((each) => each !== id))
}

/** A function that gives the exports of a module by its id. */
async function writeBundle(ids) {
  const cases = [...ids].map((id) => `${JSON.stringify(id)}: () => require('./${id}.js'),`)
  const contents = `const modules = {\n${cases.join('\n')}\n}\nmodule.exports = (id) => modules[id]()`
  const outfile = `${name}.js`
  await build({
    ...settings,
    stdin: { contents, resolveDir: folder, sourcefile: `${name}.modules.js` },
    outfile,
    sourcemap: true,
    sourcesContent: false,
  })
  // What esbuild makes of a class that names itself.
  const renamed = /\bclass _\w+/.exec(readFileSync(pathOf(outfile), 'utf8'))
  if (renamed !== null) throw new SetupError(`${outfile} has ${renamed[0]}: its name is another`)
}

/** A file that stays: its calls for what is bundled are answered by the bundle. */
function rewire(id, bundled) {
  const way = `./${'../'.repeat(id.split('/').length - 1)}${name}.js`
  const text = readFileSync(pathOf(`${id}.js`), 'utf8')
  const rewired = text.replace(/\brequire\((["'])(\.{1,2}\/[^"']+)\1\)/g, (call, _quote, path) => {
    const target = posix.join(posix.dirname(id), path)
    return bundled.has(target) ? `require(${JSON.stringify(way)})(${JSON.stringify(target)})` : call
  })
  if (/\bimport\(["']\./.test(rewired)) throw new SetupError(`${id} has import(): see bundle`)
  writeFileSync(pathOf(`${id}.js`), rewired)
}

function pathOf(file) {
  return join(folder, file)
}
