/*
 * What the project needs from the system, and how Debian's apt-get provides it. Presence is judged
 * by the command or header itself, so any other distribution works when they are there. Never
 * installs anything when not root.
 */
import { accessSync, constants, existsSync, readdirSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { capture, say, SetupError, step } from './process.mjs'

const needs = {
  make: { isPresent: () => hasCommand('make') },
  'g++': { isPresent: () => hasCommand('g++') },
  gcc: { isPresent: () => hasCommand('gcc') },
  python3: { isPresent: () => hasCommand('python3') },
  'pkg-config': { isPresent: () => hasCommand('pkg-config') },
  'liburing-dev': { isPresent: () => existsSync('/usr/include/liburing.h') },
  'g++-aarch64-linux-gnu': { isPresent: () => hasCommand('aarch64-linux-gnu-g++') },
  debootstrap: { isPresent: () => existsSync('/usr/sbin/debootstrap') },
  'qemu-user-static': { isPresent: () => hasCommand('qemu-aarch64-static') },
  musl: {
    isPresent: () => existsSync('/lib/ld-musl-x86_64.so.1'),
    without: 'the addon is not tried with the C library of Alpine Linux',
  },
  'clang-tidy': { isPresent: () => hasCommand('clang-tidy') },
  'clang-format': { isPresent: () => hasCommand('clang-format') },
  chromium: {
    isPresent: () => hasCommand('chromium'),
    without: 'the test of the demo page in a browser is skipped',
  },
  wrk: { isPresent: () => hasCommand('wrk'), without: 'the HTTP cases cannot run' },
  'nghttp2-client': {
    isPresent: () => hasCommand('h2load'),
    without: 'the HTTP/2 cases cannot run',
  },
  openssl: { isPresent: () => hasCommand('openssl'), without: 'the cases with TLS cannot run' },
}

export const buildPackages = ['make', 'g++', 'python3', 'pkg-config', 'liburing-dev']

export function missingOf(packages) {
  return packages.filter((name) => !needs[name].isPresent())
}

/** Makes the packages present, or says what is missing; only optional ones may stay missing. */
export async function ensurePackages(packages) {
  const missing = missingOf(packages)
  if (missing.length === 0) return
  const canInstall = process.getuid?.() === 0 && hasCommand('apt-get')
  // One transaction each, so that an optional package that cannot be had fails alone.
  const required = missing.filter((name) => needs[name].without === undefined)
  const optional = missing.filter((name) => needs[name].without !== undefined)
  if (required.length > 0) {
    if (!canInstall) throw new SetupError(`${required.join(', ')} missing; ${howTo(required)}`)
    await install(required)
  }
  for (const name of optional) {
    const installed = canInstall && (await install([name]).then(() => true, reportAndGoOn))
    if (!installed) say(`${name} missing: ${needs[name].without}; ${howTo([name])}`)
  }
}

function howTo(packages) {
  return `install with: apt-get install -y --no-install-recommends ${packages.join(' ')}`
}

function reportAndGoOn(error) {
  say(error.message)
  return false
}

async function install(packages) {
  await step(`apt-get install ${packages.join(' ')}`, async () => {
    let result = { code: 1, output: '' }
    if (hasPackageLists()) result = await aptInstall(packages)
    if (result.code !== 0) {
      const update = await apt(['update'])
      result = await aptInstall(packages)
      if (result.code !== 0) result.output = `${update.output}\n${result.output}`
    }
    const missing = missingOf(packages)
    if (missing.length > 0) {
      const tail = result.output.trimEnd().split('\n').slice(-15).join('\n')
      throw new SetupError(`apt-get could not install ${missing.join(', ')}:\n${tail}`)
    }
  })
}

function aptInstall(packages) {
  return apt(['install', '--yes', '--no-install-recommends', ...packages])
}

function apt(args) {
  // A machine that has just booted may be updating itself: wait for its lock for a while.
  return capture('apt-get', ['-o', 'DPkg::Lock::Timeout=120', '-q', ...args], {
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  })
}

function hasPackageLists() {
  try {
    return readdirSync('/var/lib/apt/lists').some((name) => name.includes('_Packages'))
  } catch {
    return false
  }
}

export function hasCommand(name) {
  return (process.env.PATH ?? '').split(delimiter).some((directory) => {
    try {
      accessSync(join(directory, name), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}
