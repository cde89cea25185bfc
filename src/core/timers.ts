/** Timers as they are when the package is loaded: fake timers of test tools must not stop a deadline or a listener. */
export const { setTimeout, clearTimeout } = globalThis
