/**
 * `uring-net/conformance`: the checks that decide whether something that claims to be a Node socket is one, to be run on
 * anything. Owns nothing; importing it loads neither a driver nor a test runner.
 */
export type { Check, CheckContext, Clocks, Rule } from './check'
export { checks } from './checks/index'
export { conformance } from './conformance'
export type { ConformanceOptions, TestFunction } from './conformance'
export type { Fault } from './fault'
export { faults } from './faults/index'
export type { Observed, Recorder, TraceEntry } from './observe'
export { defaultClocks, runCheck } from './run'
export type { Outcome, Status } from './run'
export type { Capabilities, Capability, Pair, PairOptions, Subject } from './subject'
export { runSuite } from './suite'
export type { SuiteOptions } from './suite'
