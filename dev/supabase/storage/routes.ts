import { type Context, Hono } from 'hono'
import { bucketRoutes } from './buckets.ts'
import { infoBody, objectResponse } from './download.ts'
import { noSuchBucket, noSuchKey, StorageError, storageErrorResponse } from './errors.ts'
import { asCaller, asOwner, callerOf, findObject, type ObjectRow, type StorageFace } from './face.ts'
import { listObjects, listRequest } from './list.ts'
import { copyObject, moveObject, moveRequest, removeObjects, removeRequest } from './objects.ts'
import { readJson } from './read-json.ts'
import {
  openSigned,
  openUpload,
  signMany,
  signManyRequest,
  signOne,
  signRequest,
  signUpload,
} from './signed.ts'
import { upload } from './upload.ts'

/** `/storage/v1`: the subset of storage-api that unmodified supabase-js programs use. A development part. */
export function storageRoutes(face: StorageFace): Hono {
  const app = new Hono()
  app.onError((error) => storageErrorResponse(error))
  app.notFound(() =>
    storageErrorResponse(new StorageError(404, 'InvalidRequest', 'Route not found', 'not_found')),
  )
  app.get('/status', (c) => c.body(null, 200))
  app.route('/bucket', bucketRoutes(face))
  signedRoutes(app, face)
  fixedRoutes(app, face)

  app.on(['GET', 'HEAD'], '/object/public/*', async (c) => {
    const { bucket, name } = target(c, '/object/public/')
    return await objectResponse(face, await publicObject(face, bucket, name), c.req.raw, {
      download: c.req.query('download') ?? null,
    })
  })
  app.on(['GET', 'HEAD'], ['/object/authenticated/*', '/object/info/*', '/object/*'], async (c) => {
    const info = pathOf(c).startsWith('/object/info/')
    const prefix = [
      '/object/info/authenticated/',
      '/object/info/',
      '/object/authenticated/',
      '/object/',
    ].find((one) => pathOf(c).startsWith(one))
    const { bucket, name } = target(c, prefix ?? '/object/')
    const caller = await callerOf(face, c.req.raw)
    const row = await asCaller(face, caller, (query) => findObject(query, bucket, name))
    if (row === null) throw noSuchKey()
    if (info) return c.json(infoBody(row))
    return await objectResponse(face, row, c.req.raw, { download: c.req.query('download') ?? null })
  })
  app.on(['POST', 'PUT'], '/object/*', async (c) => {
    const { bucket, name } = target(c, '/object/')
    const caller = await callerOf(face, c.req.raw)
    const upsert = c.req.method === 'PUT' || c.req.header('x-upsert') === 'true'
    return c.json(await upload(face, { bucket, name, upsert, request: c.req.raw, caller, owner: null }))
  })
  app.delete('/object/*', async (c) => {
    const caller = await callerOf(face, c.req.raw)
    const [, bucket, ...rest] = pathOf(c).slice('/object'.length).split('/')
    if (rest.length === 0) {
      const { prefixes } = await readJson(c, removeRequest)
      const names = prefixes.map((entry) => (typeof entry === 'string' ? entry : entry.path))
      return c.json(await removeObjects(face, caller, decode(bucket ?? ''), names))
    }
    const removed = await removeObjects(face, caller, decode(bucket ?? ''), [decode(rest.join('/'))])
    if (removed.length === 0) throw noSuchKey()
    return c.json({ message: 'Successfully deleted' })
  })
  return app
}

function signedRoutes(app: Hono, face: StorageFace): void {
  app.on(['GET', 'HEAD'], '/object/sign/*', async (c) => {
    const { bucket, name } = target(c, '/object/sign/')
    const row = await openSigned(face, bucket, name, c.req.query('token') ?? '')
    return await objectResponse(face, row, c.req.raw, { download: c.req.query('download') ?? null })
  })
  app.post('/object/upload/sign/*', async (c) => {
    const { bucket, name } = target(c, '/object/upload/sign/')
    const caller = await callerOf(face, c.req.raw)
    return c.json(await signUpload(face, caller, bucket, name, c.req.header('x-upsert') === 'true'))
  })
  app.put('/object/upload/sign/*', async (c) => {
    const { bucket, name } = target(c, '/object/upload/sign/')
    const { owner, upsert } = await openUpload(face, bucket, name, c.req.query('token') ?? '')
    return c.json(await upload(face, { bucket, name, upsert, request: c.req.raw, caller: null, owner }))
  })
  app.post('/object/sign/*', async (c) => {
    const caller = await callerOf(face, c.req.raw)
    const rest = pathOf(c).slice('/object/sign/'.length)
    if (!rest.includes('/'))
      return c.json(await signMany(face, caller, decode(rest), await readJson(c, signManyRequest)))
    const { bucket, name } = target(c, '/object/sign/')
    const { expiresIn } = await readJson(c, signRequest)
    return c.json(await signOne(face, caller, bucket, name, expiresIn))
  })
}

function fixedRoutes(app: Hono, face: StorageFace): void {
  app.post('/object/list/:bucket', async (c) => {
    const caller = await callerOf(face, c.req.raw)
    const given = await readJson(c, listRequest)
    return c.json(await asCaller(face, caller, (query) => listObjects(query, c.req.param('bucket'), given)))
  })
  app.post('/object/move', async (c) => {
    const caller = await callerOf(face, c.req.raw)
    await moveObject(face, caller, await readJson(c, moveRequest))
    return c.json({ message: 'Successfully moved' })
  })
  app.post('/object/copy', async (c) => {
    const caller = await callerOf(face, c.req.raw)
    return c.json(
      await copyObject(face, caller, await readJson(c, moveRequest), c.req.header('x-upsert') === 'true'),
    )
  })
}

async function publicObject(face: StorageFace, bucket: string, name: string): Promise<ObjectRow> {
  return await asOwner(face, async (query) => {
    const { rowCount } = await query('select from storage.buckets where id = $1 and public', [bucket])
    // A private bucket is as good as none to somebody without a token.
    if (rowCount === 0) throw noSuchBucket()
    const row = await findObject(query, bucket, name)
    if (row === null) throw noSuchKey()
    return row
  })
}

/** Path below /storage/v1, still percent-encoded: an encoded slash in a name stays apart until `decode`. */
function pathOf(c: Context): string {
  const path = new URL(c.req.url).pathname
  return path.slice(path.indexOf('/storage/v1') + '/storage/v1'.length)
}

function target(c: Context, prefix: string): { bucket: string; name: string } {
  const rest = pathOf(c).slice(prefix.length)
  const slash = rest.indexOf('/')
  if (slash < 1 || slash === rest.length - 1) throw noSuchKey()
  return { bucket: decode(rest.slice(0, slash)), name: decode(rest.slice(slash + 1)) }
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw new StorageError(400, 'InvalidKey', 'Invalid key: not valid percent-encoding')
  }
}
