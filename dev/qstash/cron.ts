/** Standard five-field cron (minute hour day month weekday) with `CRON_TZ=Zone ` in front; UTC without it. */
export interface Cron {
  /** Unix ms of the first minute after `afterMs` that matches, or null when none does within four years. */
  next(afterMs: number): number | null
}

const FIELDS = [
  { name: 'minute', min: 0, max: 59, names: [] },
  { name: 'hour', min: 0, max: 23, names: [] },
  { name: 'day', min: 1, max: 31, names: [] },
  {
    name: 'month',
    min: 1,
    max: 12,
    names: ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec'],
  },
  { name: 'weekday', min: 0, max: 7, names: ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'] },
]

const MACROS: Record<string, string> = {
  '@hourly': '0 * * * *',
  '@daily': '0 0 * * *',
  '@weekly': '0 0 * * 0',
  '@monthly': '0 0 1 * *',
  '@yearly': '0 0 1 1 *',
}

export class CronError extends Error {}

/** Throws CronError with the field that is wrong. */
export function parseCron(source: string): Cron {
  if (source.length > 256) throw new CronError('cron expression is too long')
  const zoned = /^CRON_TZ=(\S+)\s+(.+)$/.exec(source.trim())
  const zone = zoned?.[1] ?? 'UTC'
  const text = zoned?.[2] ?? source.trim()
  const parts = (MACROS[text] ?? text).split(/\s+/)
  if (parts.length !== 5) throw new CronError('a cron expression has five fields')
  const sets = parts.map((part, index) => parseField(part, index))
  const clock = wallClock(zone)
  const [minutes, hours, days, months, weekdays] = sets as [
    Set<number>,
    Set<number>,
    Set<number>,
    Set<number>,
    Set<number>,
  ]
  // The old rule of cron: when both day fields are restricted, either may match.
  const eitherDay = parts[2] !== '*' && parts[4] !== '*'

  return {
    next(afterMs) {
      let at = (Math.floor(afterMs / 60_000) + 1) * 60_000
      const end = at + 4 * 366 * 86_400_000
      while (at < end) {
        const t = clock(at)
        const onDay = days.has(t.day)
        const onWeekday = weekdays.has(t.weekday)
        const dayMatches = months.has(t.month) && (eitherDay ? onDay || onWeekday : onDay && onWeekday)
        // Skips by whole hours when it can: four years of minutes are two million, of hours 35,000.
        if (!dayMatches || !hours.has(t.hour)) at += (60 - t.minute) * 60_000
        else if (!minutes.has(t.minute)) at += 60_000
        else return at
      }
      return null
    },
  }
}

function parseField(part: string, index: number): Set<number> {
  const field = FIELDS[index]
  if (!field) throw new CronError('a cron expression has five fields')
  const fail = (): never => {
    throw new CronError(`invalid ${field.name} in cron expression: ${part.slice(0, 40)}`)
  }
  const value = (text: string): number => {
    const named = field.names.indexOf(text.toLowerCase())
    if (named >= 0) return field.name === 'month' ? named + 1 : named
    const number = /^\d{1,2}$/.test(text) ? Number(text) : fail()
    return number < field.min || number > field.max ? fail() : number
  }
  const values = new Set<number>()
  for (const item of part.split(',')) {
    const [range = '', stepText, extra] = item.split('/')
    if (extra !== undefined) fail()
    const step = stepText === undefined ? 1 : /^\d{1,2}$/.test(stepText) ? Number(stepText) : fail()
    if (step < 1) fail()
    let [from, to] = [field.min, field.max]
    if (range !== '*') {
      const [low = '', high, more] = range.split('-')
      if (more !== undefined) fail()
      from = value(low)
      to = high === undefined ? (stepText === undefined ? from : field.max) : value(high)
      if (to < from) fail()
    }
    for (let n = from; n <= to; n += step) values.add(field.name === 'weekday' ? n % 7 : n)
  }
  return values
}

interface WallClock {
  minute: number
  hour: number
  day: number
  month: number
  weekday: number
}

function wallClock(zone: string): (ms: number) => WallClock {
  if (zone === 'UTC') {
    return (ms) => {
      const date = new Date(ms)
      return {
        minute: date.getUTCMinutes(),
        hour: date.getUTCHours(),
        day: date.getUTCDate(),
        month: date.getUTCMonth() + 1,
        weekday: date.getUTCDay(),
      }
    }
  }
  let format: Intl.DateTimeFormat
  try {
    format = new Intl.DateTimeFormat('en-US', {
      timeZone: zone,
      hourCycle: 'h23',
      year: 'numeric',
      month: 'numeric',
      day: 'numeric',
      hour: 'numeric',
      minute: 'numeric',
    })
  } catch {
    throw new CronError(`unknown time zone ${zone.slice(0, 40)}`)
  }
  return (ms) => {
    const parts = Object.fromEntries(format.formatToParts(ms).map((part) => [part.type, Number(part.value)]))
    const { year = 0, month = 1, day = 1, hour = 0, minute = 0 } = parts
    return { minute, hour, day, month, weekday: new Date(Date.UTC(year, month - 1, day)).getUTCDay() }
  }
}
