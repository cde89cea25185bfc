/**
 * What calls back later, as it is when the package is loaded: fake timers of test tools must not stop a deadline, a listener or a
 * socket.
 */
export const { setTimeout, clearTimeout, setImmediate, queueMicrotask } = globalThis

export const nextTick = process.nextTick.bind(process)
