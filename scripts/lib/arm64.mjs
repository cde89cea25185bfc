/*
 * What the build for arm64 takes from Debian's packages of that architecture. They are unpacked
 * below build-arm64/, with package lists of their own: nothing of another architecture is installed
 * on this system.
 */
import { existsSync, mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { mustRun, root, SetupError, step } from './process.mjs'
import { hasCommand } from './system.mjs'

const folder = join(root, 'build-arm64')
const liburing = join(folder, 'root/usr/lib/aarch64-linux-gnu/liburing.a')

export const arm64 = {
  directory: 'build-arm64/native',
  arch: 'arm64',
  gypArgs: ['--arch=arm64', '--', `-Dliburing=${liburing}`],
  env: {
    CC: 'aarch64-linux-gnu-gcc',
    CXX: 'aarch64-linux-gnu-g++',
    AR: 'aarch64-linux-gnu-ar',
    CPATH: join(folder, 'root/usr/include'),
  },
}

/** liburing for arm64. */
export async function ensureLiburing() {
  if (existsSync(liburing)) return
  if (!hasCommand('apt-get') || !hasCommand('dpkg-deb')) {
    throw new SetupError(`${liburing} missing: it is taken from Debian's liburing-dev for arm64`)
  }
  await step('liburing for arm64', async () => {
    const lists = join(folder, 'lists')
    const packages = join(folder, 'packages')
    for (const path of [join(lists, 'partial'), packages]) mkdirSync(path, { recursive: true })
    const options = ['APT::Architectures::=arm64', `Dir::State::lists=${lists}`]
    const apt = ['-q', ...options.flatMap((option) => ['-o', option])]
    await mustRun('apt-get update', 'apt-get', [...apt, 'update'])
    await mustRun('apt-get download', 'apt-get', [...apt, 'download', 'liburing-dev:arm64'], {
      cwd: packages,
    })
    for (const name of readdirSync(packages)) {
      await mustRun('dpkg-deb', 'dpkg-deb', ['-x', join(packages, name), join(folder, 'root')])
    }
  })
}
