import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { createClient } from '@supabase/supabase-js'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type TestProject, testProject } from '../test-project.ts'

const POLICIES = `
insert into storage.buckets (id, name, public, file_size_limit, allowed_mime_types) values
  ('private', 'private', false, null, null), ('open', 'open', true, null, null),
  ('small', 'small', false, 10, null), ('images', 'images', false, null, '{image/*}');
create policy own on storage.objects for all to authenticated
  using ((storage.foldername(name))[1] = (select auth.uid())::text)
  with check ((storage.foldername(name))[1] = (select auth.uid())::text);
create policy open_insert on storage.objects for insert to anon with check (bucket_id = 'open' and storage.extension(name) = 'txt');
`

let project: TestProject
let ada: Awaited<ReturnType<TestProject['user']>>
let bob: Awaited<ReturnType<TestProject['user']>>
beforeAll(async () => {
  project = await testProject(POLICIES)
  ada = await project.user('ada@example.com')
  bob = await project.user('bob@example.com')
})
afterAll(() => project.close())

const adas = () => ada.client.storage.from('private')
const bobs = () => bob.client.storage.from('private')
const files = async () =>
  (await readdir(join(project.dir, 'storage', 'objects'), { recursive: true, withFileTypes: true })).filter(
    (entry) => entry.isFile(),
  ).length

describe('objects', () => {
  it.each([
    ['text', 'hello', 'hello'],
    ['Buffer', Buffer.from('hello'), 'hello'],
    ['Blob', new Blob(['hello'], { type: 'text/html' }), 'hello'],
    ['File', new File(['hello'], 'x.csv', { type: 'text/csv' }), 'hello'],
    ['stream', new Blob(['hello']).stream(), 'hello'],
    ['nothing', '', ''],
  ] as const)('upload and download: %s', async (kind, body, expected) => {
    const path = `${ada.id}/kinds/${kind}.txt`
    const { data, error } = await adas().upload(path, body, { duplex: 'half' } as object)
    expect(error).toBeNull()
    expect(data).toMatchObject({
      path,
      fullPath: `private/${path}`,
      id: expect.stringMatching(/^[0-9a-f-]{36}$/),
    })
    expect(await (await adas().download(path)).data?.text()).toBe(expected)
  })

  it('keep type, size, cache control and metadata', async () => {
    const path = `${ada.id}/meta.json`
    await adas().upload(path, Buffer.from('{}'), {
      contentType: 'application/json',
      cacheControl: '60',
      metadata: { a: 1 },
    })
    const { data } = await adas().info(path)
    expect(data).toMatchObject({
      name: path,
      size: 2,
      contentType: 'application/json',
      cacheControl: 'max-age=60',
      metadata: { a: 1 },
    })
    expect((await adas().exists(path)).data).toBe(true)
    expect((await adas().exists(`${ada.id}/nope`)).data).toBe(false)
  })

  it('are not replaced without upsert', async () => {
    const path = `${ada.id}/twice.txt`
    await adas().upload(path, 'one')
    const again = await adas().upload(path, 'two')
    expect(again.error).toMatchObject({ statusCode: '409', message: 'The resource already exists' })
    const before = await files()
    expect((await adas().upload(path, 'three', { upsert: true })).error).toBeNull()
    expect((await adas().update(path, 'four')).error).toBeNull()
    expect(await (await adas().download(path)).data?.text()).toBe('four')
    expect(await files()).toBe(before)
  })

  it('belong to their owner: nobody else reads, lists, changes, signs or removes them', async () => {
    const path = `${ada.id}/mine.txt`
    await adas().upload(path, 'secret')
    expect((await bobs().download(path)).error).toMatchObject({ status: 400, statusCode: '404' })
    expect((await bobs().info(path)).error).toMatchObject({ statusCode: '404' })
    expect((await bobs().list(ada.id)).data).toEqual([])
    expect((await bobs().upload(path, 'x')).error).toMatchObject({ statusCode: '403' })
    expect((await bobs().upload(path, 'x', { upsert: true })).error).toMatchObject({ statusCode: '403' })
    expect((await bobs().createSignedUrl(path, 60)).error).toMatchObject({ statusCode: '404' })
    expect((await bobs().createSignedUrls([path], 60)).data?.[0]).toMatchObject({
      signedUrl: null,
      error: expect.any(String),
    })
    expect((await bobs().createSignedUploadUrl(path)).error).toMatchObject({ statusCode: '403' })
    expect((await bobs().remove([path])).data).toEqual([])
    expect((await bobs().move(path, `${bob.id}/stolen.txt`)).error).toMatchObject({ statusCode: '404' })
    expect((await bobs().copy(path, `${bob.id}/stolen.txt`)).error).toMatchObject({ statusCode: '404' })
    expect((await adas().move(path, `${bob.id}/planted.txt`)).error).toMatchObject({ statusCode: '403' })
    expect((await project.client().storage.from('private').download(path)).error).toMatchObject({
      statusCode: '404',
    })
    expect(await (await adas().download(path)).data?.text()).toBe('secret')
  })

  it('leave nothing on disk when a policy refuses them', async () => {
    const before = await files()
    await bobs().upload(`${ada.id}/refused.txt`, 'x'.repeat(1000))
    expect(await files()).toBe(before)
    expect(await readdir(join(project.dir, 'storage', 'tmp'))).toEqual([])
  })

  it('move, copy, list and go', async () => {
    const folder = `${ada.id}/tree`
    await adas().upload(`${folder}/a.txt`, 'a')
    await adas().upload(`${folder}/b/c.txt`, 'c')
    expect((await adas().copy(`${folder}/a.txt`, `${folder}/copy.txt`)).data?.path).toBe(
      `private/${folder}/copy.txt`,
    )
    expect((await adas().move(`${folder}/a.txt`, `${folder}/z.txt`)).error).toBeNull()
    expect(await (await adas().download(`${folder}/copy.txt`)).data?.text()).toBe('a')
    const { data } = await adas().list(folder)
    expect(data?.map((entry) => [entry.name, entry.id === null])).toEqual([
      ['b', true],
      ['copy.txt', false],
      ['z.txt', false],
    ])
    expect(data?.[1]?.metadata).toMatchObject({ size: 1 })
    expect((await adas().list(folder, { search: 'z' })).data?.map((entry) => entry.name)).toEqual(['z.txt'])
    const page = await adas().list(folder, { limit: 1, offset: 1, sortBy: { column: 'name', order: 'desc' } })
    expect(page.data?.map((entry) => entry.name)).toEqual(['z.txt'])
    const removed = await adas().remove([`${folder}/z.txt`, `${folder}/absent`])
    expect(removed.data?.map((entry) => entry.name)).toEqual([`${folder}/z.txt`])
    expect((await adas().download(`${folder}/z.txt`)).error).toMatchObject({ statusCode: '404' })
  })

  it('answer one range, and 304 for what the client has', async () => {
    const path = `${ada.id}/range.txt`
    await adas().upload(path, '0123456789')
    const get = (headers: Record<string, string>) =>
      fetch(`${project.origin}/storage/v1/object/private/${path}`, {
        headers: { apikey: project.anonKey, authorization: `Bearer ${ada.token}`, ...headers },
      })
    const part = await get({ range: 'bytes=2-4' })
    expect([part.status, part.headers.get('content-range'), await part.text()]).toEqual([
      206,
      'bytes 2-4/10',
      '234',
    ])
    expect(await (await get({ range: 'bytes=-3' })).text()).toBe('789')
    const whole = await get({})
    expect((await get({ 'if-none-match': whole.headers.get('etag') ?? '' })).status).toBe(304)
    expect(whole.headers.get('content-security-policy')).toContain('sandbox')
  })
})

describe('signed URLs', () => {
  it('read one object, for a while, and nothing else', async () => {
    const path = `${ada.id}/signed file (1).txt`
    await adas().upload(path, 'signed')
    const { data } = await adas().createSignedUrl(path, 60, { download: 'report 1.txt' })
    const url = data?.signedUrl ?? ''
    const response = await fetch(url)
    expect([response.status, await response.text()]).toEqual([200, 'signed'])
    expect(response.headers.get('content-disposition')).toContain("filename*=UTF-8''report%201.txt")
    await adas().upload(`${ada.id}/other.txt`, 'other')
    const other = await fetch(url.replace(/signed%20file%20\(1\)/, 'other'))
    expect([other.status, await other.json()]).toMatchObject([400, { error: 'InvalidSignature' }])
    expect((await fetch(url.slice(0, url.indexOf('?')))).status).toBe(400)
    const forged = await fetch(url.replace(/token=[^&]*/, `token=${project.anonKey}`))
    expect([forged.status, await forged.json()]).toMatchObject([400, { error: 'InvalidJWT' }])
    // A token for reading does not upload.
    const token = new URL(url).searchParams.get('token') ?? ''
    expect(
      (await project.client().storage.from('private').uploadToSignedUrl(path, token, 'x')).error,
    ).toMatchObject({ statusCode: '400' })
  })

  it('several at once, with an error for each that cannot be had', async () => {
    await adas().upload(`${ada.id}/many.txt`, 'many')
    const { data } = await adas().createSignedUrls([`${ada.id}/many.txt`, `${ada.id}/absent`], 60)
    expect(await (await fetch(data?.[0]?.signedUrl ?? '')).text()).toBe('many')
    expect(data?.[1]).toMatchObject({ signedUrl: null, error: expect.stringContaining('does not exist') })
  })

  it('expire', async () => {
    await adas().upload(`${ada.id}/short.txt`, 'short')
    const { data } = await adas().createSignedUrl(`${ada.id}/short.txt`, 1)
    await new Promise((resolve) => setTimeout(resolve, 2100))
    const response = await fetch(data?.signedUrl ?? '')
    expect([response.status, await response.json()]).toMatchObject([
      400,
      { message: '"exp" claim timestamp check failed' },
    ])
  })

  it('upload one object without a session', async () => {
    const path = `${ada.id}/upload.txt`
    const { data } = await adas().createSignedUploadUrl(path)
    const anon = project.client().storage.from('private')
    expect((await anon.uploadToSignedUrl(path, data?.token ?? '', 'by link')).error).toBeNull()
    expect(await (await adas().download(path)).data?.text()).toBe('by link')
    expect((await anon.uploadToSignedUrl(path, data?.token ?? '', 'again')).error).toMatchObject({
      statusCode: '409',
    })
    expect((await anon.uploadToSignedUrl(`${ada.id}/else.txt`, data?.token ?? '', 'x')).error).toMatchObject({
      statusCode: '400',
    })
  })
})

describe('buckets', () => {
  it('are made, read, changed, emptied and deleted by service_role only', async () => {
    const { storage } = createClient(project.origin, project.serviceRoleKey, {
      auth: { persistSession: false },
    })
    expect(
      (
        await storage.createBucket('made', {
          public: false,
          fileSizeLimit: '1KB',
          allowedMimeTypes: ['text/plain'],
        })
      ).data,
    ).toEqual({ name: 'made' })
    expect((await storage.createBucket('made', { public: false })).error).toMatchObject({ statusCode: '409' })
    expect((await storage.getBucket('made')).data).toMatchObject({
      id: 'made',
      public: false,
      file_size_limit: 1024,
      allowed_mime_types: ['text/plain'],
    })
    expect((await storage.updateBucket('made', { public: true })).error).toBeNull()
    expect((await storage.listBuckets()).data?.map((bucket) => bucket.id)).toContain('made')
    await storage.from('made').upload('x.txt', 'x', { contentType: 'text/plain' })
    expect((await storage.deleteBucket('made')).error).toMatchObject({ statusCode: '409' })
    expect((await storage.emptyBucket('made')).error).toBeNull()
    expect((await storage.deleteBucket('made')).error).toBeNull()
    expect((await storage.getBucket('made')).error).toMatchObject({ statusCode: '404' })
    expect((await storage.createBucket('a/b', { public: true })).error).toMatchObject({ statusCode: '400' })
    expect((await ada.client.storage.createBucket('hers', { public: true })).error).toMatchObject({
      statusCode: '403',
    })
    expect((await ada.client.storage.listBuckets()).data).toEqual([])
  })

  it('limit size and type', async () => {
    const small = ada.client.storage.from('small')
    expect((await small.upload(`${ada.id}/ok`, '0123456789')).error).toBeNull()
    expect((await small.upload(`${ada.id}/big`, '0123456789x')).error).toMatchObject({ statusCode: '413' })
    expect((await small.upload(`${ada.id}/blob`, new Blob(['0123456789x']))).error).toMatchObject({
      statusCode: '413',
    })
    expect((await small.upload(`${ada.id}/huge`, new Blob(['x'.repeat(200_000)]))).error).toMatchObject({
      statusCode: '413',
    })
    const images = ada.client.storage.from('images')
    expect((await images.upload(`${ada.id}/a`, 'x', { contentType: 'text/plain' })).error).toMatchObject({
      statusCode: '415',
    })
    expect((await images.upload(`${ada.id}/a`, 'x', { contentType: 'image/svg+xml' })).error).toBeNull()
    expect((await ada.client.storage.from('nowhere').upload('a', 'x')).error).toMatchObject({
      statusCode: '404',
      message: 'Bucket not found',
    })
  })

  it('public ones are read without a token, private ones are not', async () => {
    const open = project.client().storage.from('open')
    expect((await open.upload('free.txt', 'free')).error).toBeNull()
    expect((await open.upload('free.exe', 'no')).error).toMatchObject({ statusCode: '403' })
    expect(await (await fetch(open.getPublicUrl('free.txt').data.publicUrl)).text()).toBe('free')
    await adas().upload(`${ada.id}/private.txt`, 'private')
    const hidden = await fetch(adas().getPublicUrl(`${ada.id}/private.txt`).data.publicUrl)
    expect([hidden.status, await hidden.json()]).toMatchObject([400, { statusCode: '404' }])
  })
})
