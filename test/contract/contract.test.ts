import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { cases } from './cases.ts'
import { DocumentCheck } from './document.ts'
import { provokeEvents } from './provoke-events.ts'
import { provokeEverything } from './provoke-everything.ts'
import { type Result, runCases, worldOf } from './run-cases.ts'
import { demoRun } from './runs.ts'
import { denoBinary } from './start-forwarders.ts'
import { INSTALLATIONS, type Installations, startInstallations } from './start-installations.ts'

const results = new Map<string, Result[]>()
let installations: Installations
let document: DocumentCheck
/** One line for each kind of fault, however often it was. */
const undocumented = new Set<string>()
/** Documented answers that the installations gave, without those that are provoked. */
let seenInstalled = 0

beforeAll(async () => {
  installations = await startInstallations()
  // Made through the all-in-one entry, whose step function is overheard.
  const whole = installations.of.get('all-in-one')
  if (whole) void demoRun(worldOf(whole)).catch(() => {})
  await Promise.all(
    [...installations.of].map(async ([name, installation]) => {
      results.set(name, await runCases(worldOf(installation), cases))
    }),
  )
  document = new DocumentCheck(
    await (await fetch(`${installations.system.stack().origin}/openapi.json`)).json(),
  )
  const all = [...installations.of.values()]
  for (const exchange of [...all.flatMap(({ exchanges }) => exchanges), ...installations.tapped])
    undocumented.add(document.faultOf(exchange) ?? '')
  for (const { stream, data } of all.flatMap(({ frames }) => frames))
    undocumented.add(document.faultOfFrame(stream, data) ?? '')
  seenInstalled = document.seen.size
  // What installations that work do not say: refusals of parts that are away, of limits, of what no client sends.
  const [provoked, frames] = await Promise.all([provokeEverything(), provokeEvents()])
  for (const { exchange, fault } of provoked)
    undocumented.add((exchange === null ? fault : document.faultOf(exchange)) ?? '')
  for (const { stream, data } of frames) undocumented.add(document.faultOfFrame(stream, data) ?? '')
  undocumented.delete('')
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

describe('the OpenAPI document', () => {
  it('has every path, status, type and event that was seen, each body as its schema says', () => {
    expect([...undocumented].slice(0, 20)).toEqual([])
  })

  it('promises no answer and no event that was not seen', () => {
    const answers = document.promised()
    const events = document.promisedEvents()
    const unseen = [
      ...answers.filter((answer) => !document.seen.has(answer)),
      ...events.filter((name) => !document.seenEvents.has(name)),
    ]
    const seen = answers.filter((answer) => document.seen.has(answer)).length
    console.log(
      `OpenAPI: ${seen} of ${answers.length} documented answers seen (${seenInstalled} of installations), ${document.seenEvents.size} of ${events.length} events`,
    )
    expect(unseen).toEqual([])
  })
})
