/*
 * Brings a fresh clone to the point where the project runs: Debian packages, npm packages, addon,
 * compiled TypeScript. Every step is skipped when its result is up to date, so a second run costs
 * a few hashes. `node scripts/setup.mjs [start|test|bench|build|prebuilds|package|lint|debug|tidy]`
 */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { buildAddon, builds, isBuilt, npmCli } from './lib/native.mjs'
import { main, mustRun, root, say, SetupError, step } from './lib/process.mjs'
import { filesBelow, hashOf, isStamped, writeStamp } from './lib/stamp.mjs'
import { buildPackages, ensurePackages, missingOf } from './lib/system.mjs'

const purposes = {
  build: { packages: buildPackages },
  prebuilds: { packages: [...buildPackages, 'g++-aarch64-linux-gnu', 'musl'] },
  // Its libraries for arm64 come with the cross compiler.
  package: { packages: ['debootstrap', 'qemu-user-static', 'g++-aarch64-linux-gnu'] },
  start: { packages: buildPackages },
  test: { packages: [...buildPackages, 'chromium', 'musl'] },
  bench: { packages: [...buildPackages, 'gcc', 'wrk', 'nghttp2-client', 'openssl'] },
  lint: { packages: ['clang-format'], hasAddon: false },
  asan: { packages: buildPackages },
  debug: { packages: buildPackages, hasAddon: false },
  tidy: { packages: [...buildPackages, 'clang-tidy'], hasAddon: false },
}

const npmStamp = 'node_modules/.cache/uring-net.stamp'
const distStamp = 'dist/.stamp'
const compiled = ['src', 'bench', 'examples', 'test/compat']

/** Does everything that is missing for the purpose; a second run of ours at the same time waits. */
export async function setup(purpose) {
  const { packages, hasAddon = true } = purposes[purpose] ?? unknown(purpose)
  const isLinux = process.platform === 'linux'
  const steps = [
    {
      needed: () => isLinux && missingOf(packages).length > 0,
      run: () => ensurePackages(packages),
    },
    { needed: () => !isStamped(npmStamp, npmHash()), run: installModules },
    { needed: () => isLinux && hasAddon && !isBuilt(builds.plain), run: compileAddon },
    { needed: () => !isStamped(distStamp, distHash()), run: compileTypeScript },
  ]
  if (!isLinux) say(`no native driver on ${process.platform}: node:net is passed through`)
  if (!steps.some(({ needed }) => needed())) return
  const release = await lock()
  try {
    for (const { needed, run } of steps) if (needed()) await run()
  } finally {
    release()
  }
}

function unknown(purpose) {
  throw new SetupError(`unknown purpose ${purpose}: one of ${Object.keys(purposes).join(', ')}`)
}

function npmHash() {
  return hashOf(['package-lock.json'])
}

async function installModules() {
  const hash = npmHash()
  // --include=dev: NODE_ENV=production must not leave out the compiler. --ignore-scripts: no
  // dependency needs one.
  const args = ['ci', '--include=dev', '--ignore-scripts', '--no-audit', '--no-fund']
  const why = existsSync(join(root, 'node_modules')) ? 'package-lock.json changed' : 'first run'
  await step(`npm ci (${why})`, async () =>
    mustRun('npm ci', process.execPath, [await npmCli(), ...args, '--loglevel=error']),
  )
  writeStamp(npmStamp, hash)
}

async function compileAddon() {
  await step('native addon', () => buildAddon(builds.plain))
}

function distHash() {
  const files = [...filesBelow(compiled, /\.ts$/), 'tsconfig.json', 'tsconfig.build.json']
  return hashOf([...files, 'scripts/lib/bundle.mjs', 'package-lock.json'])
}

async function compileTypeScript() {
  const hash = distHash()
  await step('TypeScript', () =>
    mustRun('tsc', process.execPath, [
      'node_modules/typescript/bin/tsc',
      '-p',
      'tsconfig.build.json',
    ]),
  )
  removeOrphans()
  // Not before npm has brought esbuild.
  const { bundle } = await import('./lib/bundle.mjs')
  await bundle()
  writeStamp(distStamp, hash)
}

/** tsc leaves the output of deleted sources behind, and the package would publish it. */
function removeOrphans() {
  const output = /\.(js|js\.map|d\.ts)$/
  for (const file of filesBelow(['dist'], output)) {
    const source = file.slice('dist/'.length).replace(output, '.ts')
    if (!existsSync(join(root, source))) rmSync(join(root, file))
  }
}

/** One setup at a time in one tree; a lock whose process is gone is taken over. */
async function lock() {
  const path = join(root, '.setup.lock')
  for (let waited = false; ; waited = true) {
    try {
      writeFileSync(path, String(process.pid), { flag: 'wx' })
      process.on('exit', () => rmSync(path, { force: true }))
      return () => rmSync(path, { force: true })
    } catch (error) {
      if (error.code !== 'EEXIST') throw error
    }
    if (!waited) say('another setup is running in this tree, waiting for it')
    await delay(200)
    if (!isOwnerAlive(path)) rmSync(path, { force: true })
  }
}

function isOwnerAlive(path) {
  try {
    process.kill(Number(readFileSync(path, 'utf8')), 0)
    return true
  } catch (error) {
    return error.code === 'EPERM'
  }
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  await main(async ([purpose = 'build']) => setup(purpose))
}
