// A host with alerting attached, an endpoint that records what it gets, and a story in which alerts
// fire on every condition and end for every reason.
import { once } from 'node:events'
import { createServer } from 'node:http'
import { setTimeout as pause } from 'node:timers/promises'
import pg from 'pg'

export const secret = 'whsec_' + Buffer.from('the key of the webhook tests, 32').toString('base64')
export const plainSecret = 'a secret that is no base64: ü'
export const organizationName = 'Acme "Ops" GmbH'
export const containerName = 'wéb\\1 "💥"'

export const database = new pg.Client({ connectionString: process.env.DATABASE_URL })

export async function query(text, values) {
  return (await database.query(text, values)).rows
}

/** Records each request: path, headers, and the body's bytes. */
export class Recorder {
  requests = []
  #server = createServer(async (request, response) => {
    const chunks = []
    for await (const chunk of request) chunks.push(chunk)
    this.requests.push({ path: request.url, headers: request.headers, body: Buffer.concat(chunks) })
    response.writeHead(200).end('noted')
  })

  async start() {
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
    this.url = `http://127.0.0.1:${this.#server.address().port}`
  }

  at(path) {
    return this.requests.filter((request) => request.path === path)
  }

  stop() {
    this.#server.close()
    this.#server.closeAllConnections()
  }
}

export async function makeHost() {
  await query(`
    CREATE TABLE organizations (id text PRIMARY KEY, name text);
    CREATE TABLE containers (id int PRIMARY KEY, organization_id text NOT NULL REFERENCES organizations, name text);
    CREATE TABLE container_metrics (container_id int NOT NULL REFERENCES containers ON DELETE CASCADE,
      sampled_at timestamptz NOT NULL, cpu_percent float8, memory_percent float8, running bool, restart_count int);
    CREATE EXTENSION alerting`)
  await query(`INSERT INTO organizations VALUES ('acme', $1), ('globex', NULL)`, [organizationName])
  await query(`INSERT INTO containers VALUES (1, 'acme', $1), (2, 'acme', NULL), (3, 'acme', 'queue')`, [containerName])
}

export async function addWebhook(url, key) {
  const [{ id }] = await query(`SELECT alerting.create_webhook('acme', $1, secret => $2) AS id`, [url, key])
  return id
}

async function settle() {
  const [{ flushed }] = await query(`SELECT alerting.flush('30s', deliveries => true) AS flushed`)
  if (!flushed) throw new Error('deliveries did not leave in 30 s')
}

async function sample(container, minutesAgo, { cpu = null, memory = null, running = null, restarts = null }) {
  await query(`INSERT INTO container_metrics VALUES ($1, now() - $2 * interval '1 minute', $3, $4, $5, $6)`,
    [container, minutesAgo, cpu, memory, running, restarts])
}

export async function tellStory() {
  const rules = {}
  for (const [name, condition, threshold, duration] of [
    ['cpu', 'CPU_USAGE', 80, 0], ['memory', 'MEMORY_USAGE', 90, 0], ['down', 'CONTAINER_DOWN', null, 0],
    ['loop', 'RESTART_LOOP', null, 10], ['disabled', 'CPU_USAGE', 80, 0], ['changed', 'CPU_USAGE', 80, 0],
    ['deleted', 'CPU_USAGE', 80, 0], ['forgotten', 'CPU_USAGE', 80, 0],
  ]) {
    const [{ id }] = await query(
      `SELECT alerting.create_rule('acme', $1, $2, threshold => $3, duration => $4, no_data => 'keep') AS id`,
      [name, condition, threshold, duration])
    rules[name] = id
  }

  await sample(1, 10, { cpu: 97.25, memory: 95, running: true, restarts: 1 })
  await sample(2, 10, { cpu: 97 })
  await sample(3, 10, { cpu: 97 })
  await settle()
  await sample(1, 9, { cpu: 98, memory: 95, running: false, restarts: 6 })
  await settle()

  for (const [statement, ...values] of [
    ['UPDATE alerting.alert_rule SET enabled = false WHERE id = $1', rules.disabled],
    [`UPDATE alerting.alert_rule SET condition = 'RESTART_LOOP', duration = 1 WHERE id = $1`, rules.changed],
    ['DELETE FROM alerting.alert_rule WHERE id = $1', rules.deleted],
    ['DELETE FROM alerting.alert WHERE rule_id = $1 AND container_id = 1', rules.forgotten],
    [`UPDATE containers SET organization_id = 'globex' WHERE id = 2`],
    ['DELETE FROM containers WHERE id = 3'],
  ]) {
    await query(statement, values)
    await settle()
  }
  await sample(1, 8, { cpu: 5, memory: 5, running: true, restarts: 6 })
  await settle()

  // Silence, which the source allows for a second from now on.
  const [{ id }] = await query(
    `SELECT alerting.create_rule('acme', 'silent', 'CPU_USAGE', threshold => 80, no_data => 'resolve') AS id`)
  await sample(1, 0, { cpu: 99 })
  await settle()
  await query(`SELECT alerting.attach_metrics('container_metrics', stale_after => '1 second')`)
  for (let tries = 0; tries < 300; ++tries) {
    const [alert] = await query('SELECT status FROM alerting.alert WHERE rule_id = $1', [id])
    if (alert?.status === 'RESOLVED') break
    await pause(200)
  }
  await settle()
}
