/** The names of what the client can do. */
export const names: string[]
