import { expect, it } from 'vitest'
import type { EventPage, FrontStore } from '../ports/store.ts'
import { EventReader } from './event-reader.ts'

type Read = Parameters<FrontStore['readEvents']>[0]

function reader() {
  const begun: { input: Read; end: (page: EventPage) => void }[] = []
  const events = new EventReader({
    readEvents: (input) => new Promise<EventPage>((end) => begun.push({ input, end })),
  })
  return { begun, events }
}
const at = (after_seq: number, sub = 'alice'): Read =>
  ({
    principal: { issuer: 'i', sub, tenant_id: null, user_id_from: 'sub' },
    run_id: 'r',
    after_seq,
  }) as unknown as Read
const turn = () => new Promise((resolve) => setImmediate(resolve))

it('readers of one user at the same place of a run share a read; another user or place has its own', async () => {
  const { begun, events } = reader()
  const same = Array.from({ length: 50 }, () => events.read(at(1)))
  void events.read(at(2))
  void events.read(at(1, 'bob'))
  await turn()
  expect(begun).toHaveLength(3)
  const page = { events: [] } as unknown as EventPage
  begun[0]?.end(page)
  expect(new Set(await Promise.all(same))).toEqual(new Set([page]))
})

it('a reader that comes when a read has begun gets a newer one', async () => {
  const { begun, events } = reader()
  void events.read(at(1))
  await turn()
  void events.read(at(1))
  await turn()
  expect(begun).toHaveLength(2)
})

it('at most 16 reads are under way; the others follow as these end', async () => {
  const { begun, events } = reader()
  for (let seq = 0; seq < 40; seq++) void events.read(at(seq))
  await turn()
  expect(begun).toHaveLength(16)
  for (const { end } of [...begun]) end({ events: [] } as unknown as EventPage)
  await turn()
  expect(begun).toHaveLength(32)
})
