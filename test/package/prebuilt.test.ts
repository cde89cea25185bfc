/**
 * What is published: the addon that this checkout builds has only needs that every supported C library meets, and an
 * installed package runs without a script and without a compiler. Owns a folder with the installed package.
 */
import { execFile } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'

const run = promisify(execFile)
const root = join(__dirname, '..', '..')
const built = join(root, 'native', 'build', 'Release', 'uring_net.node')
const arm64 = join(root, 'native', 'prebuilds', 'linux-arm64', 'uring_net.node')
const folder = mkdtempSync(join(tmpdir(), 'uring-net-package-'))

afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Calls an export of addon-check.mjs, which is an ES module: in a process of its own. */
async function check(name: string, ...args: string[]): Promise<unknown> {
  const url = pathToFileURL(join(root, 'scripts/lib/addon-check.mjs')).href
  const code = `import(process.argv[1]).then((m) => console.log(JSON.stringify(m[process.argv[2]](...process.argv.slice(3))) ?? 'null'))`
  const { stdout } = await run(process.execPath, ['-e', code, url, name, ...args])
  return JSON.parse(stdout)
}

/** False, with the reason printed, where a test cannot run. */
function can(reason: string | undefined): boolean {
  if (reason !== undefined) console.warn(`skipped: ${reason}`)
  return reason === undefined
}

describe('the addon', () => {
  test('for x64 needs no library, no version, and nothing that glibc 2.28 lacks', async () => {
    if (!can(((await check('whyNoGlibc', 'x64')) as string | undefined) ?? undefined)) return
    expect(await check('problemsOf', built, 'x64')).toEqual([])
  })

  test('for x64 is loaded by musl, where Node brings the rest', async () => {
    const unknown = await check('unknownToMusl', built)
    if (can(unknown === null ? 'musl is not installed' : undefined)) expect(unknown).toEqual([])
  })

  test('for arm64 has the same needs', async () => {
    const reason = existsSync(arm64)
      ? await check('whyNoGlibc', 'arm64')
      : `no ${arm64}: npm run prebuilds`
    if (!can((reason as string | null) ?? undefined)) return
    expect(await check('problemsOf', arm64, 'arm64')).toEqual([])
  })

  test('a program that was linked in the usual way does not pass the check', async () => {
    const problems = (await check('problemsOf', '/bin/true', 'x64')) as string[]
    expect(problems).toEqual(
      expect.arrayContaining(['it needs libc.so.6', 'it asks for versions of symbols']),
    )
  })
})

describe('the package, installed without scripts', () => {
  const app = join(folder, 'app')
  const installed = join(app, 'node_modules', 'uring-net')

  beforeAll(async () => {
    // A copy of what is packed, so that the addon of this checkout can stand in for the prebuilt one.
    const source = join(folder, 'source')
    for (const path of [
      'package.json',
      'README.md',
      'LICENSE',
      'dist',
      'docs',
      'node_modules/node-gyp-build',
    ]) {
      cpSync(join(root, path), join(source, path), { recursive: true })
    }
    const prebuilt = join(source, 'native/prebuilds', `linux-${process.arch}`, 'uring_net.node')
    mkdirSync(dirname(prebuilt), { recursive: true })
    cpSync(built, prebuilt)
    mkdirSync(app)
    // Or npm would install into a folder above that has node_modules.
    writeFileSync(join(app, 'package.json'), '{}')
    const quiet = ['--ignore-scripts', '--loglevel=error']
    await run('npm', ['pack', ...quiet, '--pack-destination', app], { cwd: source })
    const tarball = readdirSync(app).find((name) => name.endsWith('.tgz'))!
    await run(
      'npm',
      ['install', ...quiet, '--offline', '--no-audit', '--no-fund', `./${tarball}`],
      { cwd: app },
    )
  }, 60_000)

  test('carries bytes on a driver of the addon, with an empty PATH', async () => {
    const smoke = join(root, 'scripts/lib/package-smoke.cjs')
    const { stdout } = await run(process.execPath, [smoke], { cwd: app, env: { PATH: '' } })
    expect(stdout).toMatch(/^net, TLS and HTTP\/2 on (uring|epoll) /)
  })

  test('has neither sources nor scripts, and is small', () => {
    const manifest = readFileSync(join(installed, 'package.json'), 'utf8')
    const { scripts } = JSON.parse(manifest) as { scripts: Record<string, string> }
    for (const name of ['preinstall', 'install', 'postinstall'])
      expect(scripts).not.toHaveProperty(name)
    expect(readdirSync(join(installed, 'native'))).toEqual(['prebuilds'])
    expect(existsSync(join(installed, 'scripts'))).toBe(false)
    const tarball = readdirSync(app).find((name) => name.endsWith('.tgz'))!
    expect(statSync(join(app, tarball)).size).toBeLessThan(1 << 20)
  })
})

test('it is known whether the prebuilt addons are of these sources', async () => {
  const url = pathToFileURL(join(root, 'scripts/lib/prebuilt.mjs')).href
  const code = `import(process.argv[1]).then((m) => console.log(m.whyNotPrebuilt()))`
  const { stdout } = await run(process.execPath, ['-e', code, url])
  expect(stdout).toMatch(existsSync(arm64) ? /^(undefined|native.prebuilds is not of)/ : /missing/)
})
