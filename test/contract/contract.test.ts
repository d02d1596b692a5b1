import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { cases } from './cases.ts'
import { type Result, runCases, worldOf } from './run-cases.ts'
import { denoBinary } from './start-forwarders.ts'
import { INSTALLATIONS, type Installations, startInstallations } from './start-installations.ts'

const results = new Map<string, Result[]>()
let installations: Installations

beforeAll(async () => {
  installations = await startInstallations()
  await Promise.all(
    [...installations.of].map(async ([name, installation]) => {
      results.set(name, await runCases(worldOf(installation), cases))
    }),
  )
  for (const [name, list] of results) {
    const held = list.filter(({ fault, skipped }) => fault === undefined && skipped === undefined).length
    const { exchanges = [], frames = [] } = installations.of.get(name as 'gateway') ?? {}
    console.log(
      `contract, ${name}: ${held} of ${list.length} cases held, ${list.filter(({ skipped }) => skipped !== undefined).length} not for it; ${exchanges.length} answers, ${frames.length} stream events`,
    )
  }
}, 300_000)
afterAll(() => installations?.close())

describe.each(INSTALLATIONS)('%s', (name) => {
  it.each(cases.map((one) => one.name))('%s', (wanted) => {
    if (name === 'forwarders' && denoBinary() === undefined) return
    const result = results.get(name)?.find((one) => one.name === wanted)
    expect(result, 'the case was run').toBeDefined()
    if (result?.fault !== undefined) throw new Error(result.fault)
  })
})
