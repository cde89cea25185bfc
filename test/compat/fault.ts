/**
 * A known-bad subject: the oracle with one deviation, named for the real bug that it imitates. Faults test the suite: each
 * has to be caught by the checks it lists, with the message it lists, and by no other on any version of Node.
 */
import type { Subject } from './subject'

export interface Fault {
  /** In kebab case: what is wrong. */
  name: string
  /** The real bug, with its project. */
  imitates: string
  /** Check ids and what their failure says. All of them, and no others, catch it. */
  caughtBy: Readonly<Record<string, RegExp>>
  /** The same of checks that catch it on some versions of Node only. */
  alsoCaughtBy?: Readonly<Record<string, RegExp>>
  /** The oracle, spoiled. */
  spoil(oracle: Subject): Subject
}
