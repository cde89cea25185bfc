/** Where subjects come from: the built-in ones of a driver, somebody's module, or the faults. Loads them; owns none. */
import { pathToFileURL } from 'node:url'
import { resolve } from 'node:path'
import { faults } from './faults/index'
import { builtInSubjects } from './subjects/index'
import { nodeNet } from './subjects/node-net'
import type { Subject } from './subject'

export type Source =
  { kind: 'built-in'; driver: string } | { kind: 'file'; path: string } | { kind: 'faults' }

export async function subjectsOf(source: Source): Promise<readonly Subject[]> {
  if (source.kind === 'built-in') return builtInSubjects(source.driver)
  if (source.kind === 'file') return subjectsIn(source.path)
  // What the oracle is known to fail is judged by the self-test itself.
  const oracle = { ...nodeNet, knownFailures: {} }
  return [oracle, ...faults.map((fault) => ({ ...fault.spoil(oracle), name: fault.name }))]
}

async function subjectsIn(path: string): Promise<readonly Subject[]> {
  const module = (await import(pathToFileURL(resolve(path)).href)) as { default?: unknown }
  // A CommonJS module compiled from `export default` arrives within another default.
  const outer = module.default as { default?: unknown } | undefined
  const given: unknown = outer?.default ?? outer
  const made: unknown = typeof given === 'function' ? await given() : given
  const subjects: unknown[] = Array.isArray(made) ? made : [made]
  return subjects.map((subject) => mustBeSubject(subject, path))
}

function mustBeSubject(value: unknown, path: string): Subject {
  const subject = value as Partial<Subject> | null | undefined
  const wrong =
    typeof subject !== 'object' || subject === null
      ? 'its default export is no subject, array of subjects or function that returns one'
      : typeof subject.name !== 'string'
        ? 'the subject has no name'
        : typeof subject.makePair !== 'function'
          ? `${subject.name} has no makePair()`
          : typeof subject.capabilities !== 'object'
            ? `${subject.name} declares no capabilities (an empty object, if it has none)`
            : undefined
  if (wrong !== undefined) throw new Error(`${path}: ${wrong}`)
  return subject as Subject
}
