/**
 * Runs a callback of the program in its async context and in a callback scope, as Node runs the callbacks of its own
 * handles (E2). Owns nothing. For events that are not on the hot path.
 */
import type { AsyncResource } from 'node:async_hooks'
import type { Driver } from '../core/driver'

export function runIn(driver: Driver, resource: AsyncResource, callback: () => void): void {
  driver.call(resource, enter, callback, undefined, undefined)
}

function enter(this: AsyncResource, callback: () => void): void {
  this.runInAsyncScope(callback)
}
