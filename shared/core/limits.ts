/** Limits of the engine that are not settings. Units are in the names; the reason stands beside each. */

/** Until a job's runner has called, its step is looked at after so long: a job that was never made is made then. */
export const JOB_CHECK_SECONDS = 10
/** A job gets so long on top of its tool's time: to start, to fetch and to bring back files. */
export const JOB_GRACE_SECONDS = 60
/** Tool output kept of each stream: two of them and their JSON stay below what a model reads with profit. */
export const TOOL_OUTPUT_BYTES = 32 * 1024
/** Text of one tool result for the model. */
export const TOOL_RESULT_CHARS = 80_000
/** Memory of one tool call. */
export const TOOL_MEMORY_BYTES = 1024 * 1024 * 1024
export const WORKSPACE_BYTES = 1024 * 1024 * 1024
export const WORKSPACE_FILES = 10_000
/** Files of one tool call that become artifacts. */
export const MAX_ARTIFACTS_A_STEP = 50
/** Publications of one call of the sweeper. */
export const SWEEP_LIMIT = 200
/** Pieces of answer text are sent to readers together, at most this often: a reader cannot tell them apart, Redis is billed a command. */
export const DELTA_FLUSH_MS = 80
/** How often a step in flight asks whether its run was cancelled. */
export const CANCEL_POLL_MS = 1000
