import { createCases } from './cases/create.ts'
import { httpCases } from './cases/http.ts'
import { logCases } from './cases/logs.ts'
import { readerCases } from './cases/readers.ts'
import { runsListCases } from './cases/runs-list.ts'
import { statusCases } from './cases/status.ts'
import { streamCases } from './cases/streams.ts'
import { tableCases } from './cases/tables.ts'
import { verbCases } from './cases/verbs.ts'
import type { Case } from './installation.ts'

/** Readers first: what they show matters most, and their runs take longest. */
export const cases: readonly Case[] = [
  ...readerCases,
  ...streamCases,
  ...createCases,
  ...verbCases,
  ...statusCases,
  ...logCases,
  ...runsListCases,
  ...tableCases,
  ...httpCases,
]
