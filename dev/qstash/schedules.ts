import { parseCron } from './cron.ts'
import type { PublishRequest } from './publish.ts'
import type { Schedule, State } from './state.ts'

/** Publishes what schedules are due. One late by several periods (the stack was down) fires once. */
export function fireSchedules(
  state: State,
  nowMs: number,
  publish: (request: PublishRequest) => unknown,
  log: (fields: Record<string, unknown>, message: string) => void,
): void {
  for (const schedule of state.schedules.values()) {
    if (schedule.isPaused || schedule.nextAtMs === null || schedule.nextAtMs > nowMs) continue
    schedule.lastAtMs = nowMs
    schedule.nextAtMs = parseCron(schedule.cron).next(nowMs)
    try {
      publish({
        destination: schedule.destination,
        options: schedule.options,
        body: Buffer.from(schedule.body, 'base64'),
        callerIp: schedule.callerIp,
        scheduleId: schedule.scheduleId,
      })
    } catch (error) {
      log({ schedule_id: schedule.scheduleId, err: error }, 'schedule could not be published')
    }
  }
}

/** The JSON of the API for a schedule. */
export function describeSchedule(schedule: Schedule): Record<string, unknown> {
  const { options } = schedule
  const header: Record<string, string[]> = {}
  if (options.contentType) header['Content-Type'] = [options.contentType]
  for (const [name, value] of Object.entries(options.forward)) header[name] = [value]
  return {
    scheduleId: schedule.scheduleId,
    cron: schedule.cron,
    createdAt: schedule.createdAtMs,
    destination: schedule.destination,
    method: options.method,
    header,
    body: Buffer.from(schedule.body, 'base64').toString('utf8'),
    retries: options.retries,
    delay: options.delayMs / 1000,
    callback: options.callback?.url,
    failureCallback: options.failureCallback?.url,
    callerIP: schedule.callerIp,
    isPaused: schedule.isPaused,
    queueName: options.queueName ?? undefined,
    flowControlKey: options.flowControlKey ?? undefined,
    parallelism: options.flowLimits?.parallelism ?? undefined,
    rate: options.flowLimits?.rate ?? undefined,
    period: options.flowLimits ? options.flowLimits.periodMs / 1000 : undefined,
    retryDelayExpression: options.retryDelay ?? undefined,
    label: options.labels[0],
    labels: options.labels.length > 0 ? options.labels : undefined,
    lastScheduleTime: schedule.lastAtMs ?? undefined,
    nextScheduleTime: schedule.nextAtMs ?? undefined,
  }
}
