import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { expect, it } from 'vitest'

const SUPABASE = new URL('../../supabase/', import.meta.url)

/** `supabase/released.sha256`, as `sha256sum` writes it: what databases in use have applied. */
async function released(): Promise<Map<string, string>> {
  const text = await readFile(new URL('released.sha256', SUPABASE), 'utf8')
  return new Map(
    text
      .trim()
      .split('\n')
      .map((line) => {
        const [, hash = '', file = ''] = /^([0-9a-f]{64}) {2}(\d{14}_\w+\.sql)$/.exec(line) ?? []
        return [file, hash]
      }),
  )
}

it('a migration that was released is never changed, removed or followed by an older number', async () => {
  const list = await released()
  expect(list.size).toBeGreaterThanOrEqual(9)
  const files = (await readdir(new URL('migrations/', SUPABASE))).filter((name) => name.endsWith('.sql'))
  for (const [file, hash] of list) {
    const bytes = await readFile(new URL(`migrations/${file}`, SUPABASE)).catch(() => undefined)
    const found = bytes && createHash('sha256').update(bytes).digest('hex')
    expect(`${file} ${found}`, 'databases have applied it: write a new migration instead').toBe(
      `${file} ${hash}`,
    )
  }
  const newest = [...list.keys()].toSorted((a, b) => a.localeCompare(b)).at(-1) ?? ''
  expect(files.filter((file) => !list.has(file) && file < newest)).toEqual([])
})
