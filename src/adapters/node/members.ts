/** Puts members in the place of those of a class of Node's, which they look like. Owns nothing. */
export function replaceMembers(prototype: object, members: Record<string, unknown>): void {
  for (const [name, value] of Object.entries(members)) {
    const { length } = Reflect.get(prototype, name) as { length: number }
    Object.defineProperties(value as object, { name: { value: name }, length: { value: length } })
    Object.defineProperty(prototype, name, {
      value,
      writable: true,
      configurable: true,
      enumerable: true,
    })
  }
}
