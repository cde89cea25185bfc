/** The command line as such: help, version, wrong usage, and that it can be started as an installed program. */
import { readFileSync, symlinkSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { cli, removeApps, runCli, writeApp } from './program'

const root = join(__dirname, '..', '..')
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  version: string
  bin: Record<string, string>
}

afterAll(removeApps)

test('--help lists the commands', async () => {
  const { stdout, stderr, code } = await runCli(['--help'])
  expect(stdout).toMatch(/^usage: uring-net <command>/)
  expect(stdout).toMatch(/^ {2}run {3}/m)
  expect(stdout).toMatch(/^ {2}doctor /m)
  expect({ stderr, code }).toEqual({ stderr: '', code: 0 })
})

test.each(['run', 'doctor'])('%s --help tells how it is used', async (command) => {
  const { stdout, code } = await runCli([command, '--help'])
  expect(stdout).toContain(`usage: uring-net ${command}`)
  expect(code).toBe(0)
})

test('--version prints the version of the package', async () => {
  expect(await runCli(['--version'])).toMatchObject({ stdout: `${manifest.version}\n`, code: 0 })
})

test.each([
  ['no command', [], /^usage: uring-net <command>/],
  ['an unknown command', ['fly'], /unknown command 'fly'/],
  ['a name that every object has', ['constructor'], /unknown command 'constructor'/],
  ['an unknown option', ['--fly'], /unknown option '--fly'/],
  ['an unknown argument of doctor', ['doctor', '--fly'], /unknown argument '--fly'[^]*usage:/],
  ['run without an app', ['run'], /the app is missing[^]*usage:/],
  ['run with an app that is not there', ['run', 'no/such.js'], /no app at .*no\/such\.js/],
  ['run on a driver that does not exist', ['run', '--driver', 'fast', 'a.js'], /'fast' is none/],
] as const)('%s is refused on stderr with exit code 2', async (_title, args, message) => {
  const { stdout, stderr, code } = await runCli([...args])
  expect(stderr).toMatch(message)
  expect(stderr).not.toMatch(/^ {4}at /m)
  expect({ stdout, code }).toEqual({ stdout: '', code: 2 })
})

test('the package names the program, and a link to it runs', async () => {
  expect(resolve(root, manifest.bin['uring-net']!)).toBe(cli)
  expect(readFileSync(cli, 'utf8')).toMatch(/^#!\/usr\/bin\/env node\n/)
  // As in node_modules/.bin: what lies beside the program is found through the link.
  const app = writeApp('app.js', 'console.log("started")')
  const link = join(dirname(app), 'uring-net')
  symlinkSync(cli, link)
  const { stdout, code } = await runCli(['run', app], { program: link })
  expect({ stdout, code }).toEqual({ stdout: 'started\n', code: 0 })
})
