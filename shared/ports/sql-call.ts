/** Calls one SQL function with its one argument: one transaction. Rejects as core/sql-call.ts says. */
export type SqlCall = <T>(name: string, argument: Record<string, unknown>) => Promise<T>
