import { createClient, type SupabaseClient } from '@supabase/supabase-js'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type DoorWorld, doorWorld, FILE_SHA256, type Person } from './world.ts'

let world: DoorWorld
let cells = 0
beforeAll(async () => {
  world = await doorWorld()
})
afterAll(async () => {
  await world.close()
  console.log(`tenancy matrix, files: ${cells} cells`)
})

const BUCKETS = ['agent-inputs', 'agent-outputs', 'agent-workspaces'] as const
type Bucket = (typeof BUCKETS)[number]
const fileOf = (bucket: Bucket, { sub, userId }: Person) =>
  ({
    'agent-inputs': `${sub}/a.txt`,
    'agent-outputs': `${userId}/a.txt`,
    'agent-workspaces': `${userId}/${FILE_SHA256}`,
  })[bucket]

/** What supabase-js can ask of Storage about one object; each answers what came of it, as words. */
const ASKS: Record<string, (client: SupabaseClient, bucket: Bucket, name: string) => Promise<string>> = {
  download: async (client, bucket, name) => said(await client.storage.from(bucket).download(name)),
  info: async (client, bucket, name) => said(await client.storage.from(bucket).info(name)),
  sign: async (client, bucket, name) => said(await client.storage.from(bucket).createSignedUrl(name, 60)),
  'sign many': async (client, bucket, name) => {
    const { data } = await client.storage.from(bucket).createSignedUrls([name], 60)
    return data?.[0]?.signedUrl ? 'ok' : String(data?.[0]?.error)
  },
  'sign an upload': async (client, bucket, name) =>
    said(await client.storage.from(bucket).createSignedUploadUrl(name, { upsert: true })),
  list: async (client, bucket, name) => {
    const { data } = await client.storage.from(bucket).list(name.split('/')[0])
    return data?.length ? 'ok' : 'empty'
  },
  copy: async (client, bucket, name) => said(await client.storage.from(bucket).copy(name, `${name}.copy`)),
  move: async (client, bucket, name) => said(await client.storage.from(bucket).move(name, `${name}.moved`)),
  'public address': async (client, bucket, name) => {
    const { publicUrl } = client.storage.from(bucket).getPublicUrl(name).data
    return String((await fetch(publicUrl)).status)
  },
  remove: async (client, bucket, name) => {
    const { data } = await client.storage.from(bucket).remove([name])
    return data?.length ? 'ok' : 'nothing'
  },
}
function said({ error }: { error: unknown }): string {
  if (error === null) return 'ok'
  const { statusCode, message } = error as { statusCode?: unknown; message: string }
  return `${String(statusCode)} ${message}`
}

/** Who may ask what about a file of their own. */
const OWN: Record<Bucket, readonly string[]> = {
  'agent-inputs': Object.keys(ASKS).filter((ask) => ask !== 'public address'),
  'agent-outputs': ['download', 'info', 'sign', 'sign many', 'list'],
  'agent-workspaces': [],
}

it('a file is for its owner: to everybody else a foreign one is as one that is not there', async () => {
  const { alice, bob } = world.people
  const client = (token?: string) =>
    createClient(world.project.origin, world.project.anonKey, {
      auth: { persistSession: false, autoRefreshToken: false },
      ...(token === undefined ? {} : { accessToken: async () => token }),
    })
  const askers: [string, SupabaseClient][] = [
    ['bob', client(bob.token)],
    ['nobody', client()],
  ]
  for (const bucket of BUCKETS) {
    const name = fileOf(bucket, alice)
    const unknown = name.replace(/[^/]+\//, '00000000-0000-4000-8000-0000000000ee/')
    for (const [ask, run] of Object.entries(ASKS)) {
      for (const [asker, asking] of askers) {
        const foreign = await run(asking, bucket, name)
        const nothing = await run(asking, bucket, unknown)
        expect([bucket, ask, asker, foreign]).toEqual([bucket, ask, asker, nothing])
        expect([bucket, ask, asker, foreign]).not.toEqual([bucket, ask, asker, 'ok'])
        cells += 2
      }
    }
  }
  // they are all still there; then their owner does what owners may
  for (const bucket of BUCKETS) {
    const { error } = await world.service.storage.from(bucket).download(fileOf(bucket, alice))
    expect([bucket, error]).toEqual([bucket, null])
    for (const [ask, run] of Object.entries(ASKS)) {
      if (ask === 'move') continue // after it there is nothing to remove
      const outcome = await run(client(alice.token), bucket, fileOf(bucket, alice))
      expect([bucket, ask, outcome === 'ok']).toEqual([bucket, ask, OWN[bucket].includes(ask)])
      cells += 1
    }
  }
})

it('a signed address is for one object and its time', async () => {
  const { bob, alice } = world.people
  const name = fileOf('agent-outputs', bob)
  const { data } = await world.service.storage.from('agent-outputs').createSignedUrl(name, 60)
  const right = data?.signedUrl ?? ''
  const status = async (url: string) => (await fetch(url)).status
  expect(await status(right)).toBe(200)
  const token = new URL(right).searchParams.get('token') ?? ''
  const at = (path: string, value: string) =>
    `${world.project.origin}/storage/v1/object/sign/${path}?token=${value}`
  const short = await world.service.storage.from('agent-outputs').createSignedUrl(name, 1)
  const forged = [
    at(`agent-outputs/${fileOf('agent-outputs', alice)}`, token),
    at(`agent-workspaces/${fileOf('agent-workspaces', bob)}`, token),
    at(`agent-outputs/${name}`, ''),
    at(`agent-outputs/${name}`, `${token.slice(0, -4)}AAAA`),
    at(`agent-outputs/${name}`, bob.token),
    at(`agent-outputs/${name}`, world.project.serviceRoleKey),
  ]
  for (const url of forged) expect([url, (await status(url)) >= 400]).toEqual([url, true])
  await new Promise((resolve) => setTimeout(resolve, 2100))
  expect(await status(short.data?.signedUrl ?? '')).toBeGreaterThanOrEqual(400)
  cells += forged.length + 2
})
