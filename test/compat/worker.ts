/**
 * The process in which checks run: one at a time, told by the process that started it, each outcome sent back as soon as it
 * is known. A driver is chosen once in a process, and what a check breaks is broken for its process: hence processes.
 */
import { runSuite } from './suite'
import type { Clocks } from './check'
import { checks } from './checks/index'
import { toRecord } from './report/record'
import type { OutcomeRecord } from './report/record'
import { subjectsOf } from './source'
import type { Source } from './source'
import type { Capabilities, Subject } from './subject'

export type Request =
  | { ask: 'subjects'; source: Source }
  | { ask: 'run'; source: Source; subject: string; checks: readonly string[]; clocks: Clocks }

export interface SubjectFacts {
  name: string
  capabilities: Capabilities
}

export type Reply =
  | { tell: 'subjects'; subjects: SubjectFacts[] }
  | { tell: 'started'; check: string }
  | { tell: 'finished'; outcome: OutcomeRecord }
  | { tell: 'done' }
  | { tell: 'broken'; message: string }

export function work(): void {
  const known = new Map<string, Promise<readonly Subject[]>>()
  const load = (source: Source): Promise<readonly Subject[]> => {
    const key = JSON.stringify(source)
    const subjects = known.get(key) ?? subjectsOf(source)
    known.set(key, subjects)
    return subjects
  }
  // Started by hand there is nobody to tell.
  const tell = (reply: Reply): void => void process.send?.(reply)
  process.on('message', (request: Request) => {
    answer(request, load, tell).catch((error: unknown) => {
      tell({ tell: 'broken', message: error instanceof Error ? error.message : String(error) })
    })
  })
  // What a subject leaves open does not keep the process.
  process.on('disconnect', () => process.exit())
}

async function answer(
  request: Request,
  load: (source: Source) => Promise<readonly Subject[]>,
  tell: (reply: Reply) => void,
): Promise<void> {
  const subjects = await load(request.source)
  if (request.ask === 'subjects') {
    const facts = subjects.map(({ name, capabilities }) => ({ name, capabilities }))
    return tell({ tell: 'subjects', subjects: facts })
  }
  const subject = subjects.find(({ name }) => name === request.subject)
  if (subject === undefined) throw new Error(`there is no subject ${request.subject}`)
  const outcomes = runSuite(subject, {
    checks: checks.filter(({ id }) => request.checks.includes(id)),
    clocks: request.clocks,
    onStart: ({ id }) => tell({ tell: 'started', check: id }),
  })
  for await (const outcome of outcomes) tell({ tell: 'finished', outcome: toRecord(outcome) })
  tell({ tell: 'done' })
}
