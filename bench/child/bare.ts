// What a function process cannot be smaller than: hono on its Node server with one Postgres call for its answer.
import { serve } from '@hono/node-server'
import { Hono } from 'hono'
import pg from 'pg'

const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL ?? '', max: 4 })
const app = new Hono()
app.get('/', async (context) => {
  const { rows } = await pool.query<{ answer: unknown }>(`select public.agent_ready('{}') as answer`)
  return context.json(rows[0])
})
serve({ fetch: app.fetch, port: Number(process.env.PORT), hostname: '127.0.0.1' })
