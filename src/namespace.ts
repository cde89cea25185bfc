/**
 * The exports of the module as a namespace, so that the default export of index.ts names types as node:net's does
 * (`net.Socket`). For the compiler: who runs it gets index.ts's own object instead.
 */
export * from './index'
