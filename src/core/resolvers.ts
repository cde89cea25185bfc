/**
 * A promise with its ends outside of it, as Promise.withResolvers makes it from Node 22 on. Who waits for long is spared the
 * function that the constructor asks for.
 */
export interface Resolvers<Value> {
  promise: Promise<Value>
  resolve: (value: Value) => void
  reject: (error: unknown) => void
}

type WithResolvers = <Value>() => Resolvers<Value>

const { withResolvers: nodes } = Promise as { withResolvers?: WithResolvers }

export const withResolvers: WithResolvers =
  nodes?.bind(Promise) ??
  (<Value>() => {
    const made = {} as Resolvers<Value>
    made.promise = new Promise<Value>((resolve, reject) => {
      made.resolve = resolve
      made.reject = reject
    })
    return made
  })
