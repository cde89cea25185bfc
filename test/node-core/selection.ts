/**
 * Which of Node's test files are run, and to which area each belongs. It reads the names and the first comments of a
 * suite's files; it never runs one.
 */
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'

/** Sockets, the names that they look up, and what Node builds on them. */
export const CORE_AREAS = ['net', 'dgram', 'dns', 'http', 'http2', 'https', 'tls'] as const

/** What surrounds them: processes, threads and contexts that a socket is handed to or seen from. */
export const AROUND_AREAS = [
  'cluster',
  'child-process',
  'worker',
  'async-hooks',
  'async-local-storage',
  'diagnostics-channel',
] as const

export const AREAS = [...CORE_AREAS, ...AROUND_AREAS] as const
export type Area = (typeof AREAS)[number]

/** Where only some of the tests with that beginning are about sockets. */
const NARROWER: Partial<Record<Area, RegExp>> = {
  'child-process': /^test-child-process-.*(net|dgram)/,
  'diagnostics-channel': /^test-diagnostics-channel-(net|udp)/,
}

/** `sequential/` holds what does not bear company: it is run after `parallel/`, one test at a time. */
export const FOLDERS = ['parallel', 'sequential'] as const

/** The area of a test, or undefined for a test that is in none. */
export function areaOf(name: string): Area | undefined {
  const file = name.slice(name.indexOf('/') + 1)
  // `test-dns.js` is of dns as much as `test-dns-lookup.js` is.
  return AREAS.find((area) => (NARROWER[area] ?? new RegExp(`^test-${area}[-.]`)).test(file))
}

export class SelectionError extends Error {}

/** Area names separated by commas; `core`, `around` and `all` stand for several. */
export function parseAreas(list: string): Area[] {
  const groups: Record<string, readonly Area[]> = {
    core: CORE_AREAS,
    around: AROUND_AREAS,
    all: AREAS,
  }
  const wanted = new Set(
    list.split(',').flatMap((word) => {
      const areas = groups[word] ?? AREAS.filter((area) => area === word)
      if (areas.length > 0) return areas
      throw new SelectionError(
        `no area '${word}': ${[...AREAS, ...Object.keys(groups)].join(', ')}`,
      )
    }),
  )
  return AREAS.filter((area) => wanted.has(area))
}

/** Every test file of a suite, as `parallel/test-x.js`, in a fixed order. */
export function testFiles(testRoot: string): string[] {
  return FOLDERS.flatMap((folder) => {
    const directory = join(testRoot, folder)
    if (!existsSync(directory)) return []
    const files = readdirSync(directory).filter((file) => /^test-.*\.m?js$/.test(file))
    return files.sort().map((file) => `${folder}/${file}`)
  })
}

/** With a filter alone it may be any test of the suite; otherwise those of the areas (all when none are named). */
export function select(
  names: readonly string[],
  { areas, filter }: { areas?: readonly Area[] | undefined; filter?: RegExp | undefined },
): string[] {
  const within = areas ?? (filter ? undefined : AREAS)
  return names.filter((name) => {
    const area = areaOf(name)
    if (within && !(area && within.includes(area))) return false
    return filter?.test(name) ?? true
  })
}

export interface Directives {
  flags: string[]
  env: Record<string, string>
}

/** What a test asks of the one who runs it: `// Flags: --a --b` and `// Env: A=1 B=2`. */
export function directives(source: string): Directives {
  const words = (pattern: RegExp) =>
    (pattern.exec(source)?.[1] ?? '').split(/\s+/).filter((word) => word !== '')
  const pairs = words(/^\/\/ Env:\s+(.*)$/m).map((pair): [string, string] => {
    const at = pair.indexOf('=')
    return at < 0 ? [pair, ''] : [pair.slice(0, at), pair.slice(at + 1)]
  })
  return { flags: words(/^\/\/ Flags:\s+(--.*)$/m), env: Object.fromEntries(pairs) }
}

/** Two suites with the same fingerprint have the same tests in our areas, whatever lies beside them. */
export function fingerprint(testRoot: string): string {
  const hash = createHash('sha256')
  for (const name of select(testFiles(testRoot), {})) {
    hash.update(`\0${name}\0`).update(readFileSync(join(testRoot, name)))
  }
  return hash.digest('hex').slice(0, 12)
}
