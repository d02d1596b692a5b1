import { expect, test } from 'vitest'
import { freeKey } from './upload-files.ts'

test('files of one name do not take each other’s place', () => {
  const taken: { bucket: string; path: string }[] = []
  for (const name of ['x.csv', 'y.csv', 'x.csv', 'x.csv'])
    taken.push({ bucket: 'b', path: freeKey('u/f', name, taken) })
  expect(taken.map(({ path }) => path)).toEqual(['u/f/x.csv', 'u/f/y.csv', 'u/f/2/x.csv', 'u/f/3/x.csv'])
})
