/** Tells the dispatcher that a step is due, as a worker tells QStash: the same for floor and candidate. */
export async function publish(
  dispatcher: string,
  message: { run_id: string; step_number: number },
): Promise<void> {
  const answer = await fetch(dispatcher, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(message),
  })
  await answer.arrayBuffer()
  if (!answer.ok) throw new Error(`the dispatcher answered ${answer.status}`)
}
