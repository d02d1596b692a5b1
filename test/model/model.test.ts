import { describe, expect, it } from 'vitest'
import { explore } from './explore.ts'
import { PROGRAMS } from './programs.ts'
import { REMOVALS, remove } from './removals.ts'

describe('the protocol in every order of events', () => {
  it.each(['two', 'question'] as const)('%s: no promise breaks and every state can still end', (name) => {
    const found = explore(PROGRAMS[name])
    expect(found.broken).toBeNull()
    expect(found.complete).toBe(true)
    // fewer would mean that the model no longer does what it did
    expect(found.states).toBeGreaterThan(80_000)
  })

  it.each(REMOVALS)('without $guards: $promise', (removal) => {
    const found = remove(removal)
    expect(found.broken?.property.startsWith(removal.promise)).toBe(true)
  })
})
