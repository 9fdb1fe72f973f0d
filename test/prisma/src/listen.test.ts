// Without an ORM: plain pg with LISTEN, for live dashboards, and Knex.
import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import { after, before, test } from 'node:test'
import knexFactory, { type Knex } from 'knex'
import pg from 'pg'

const connectionString = process.env.DATABASE_URL!
const client = new pg.Client({ connectionString })
let knex: Knex

interface Transition { event: string; alertId: string; ruleId: string; containerId: string }
const transitions = new EventEmitter<{ shown: [Transition] }>()
const show = (transition: Transition) => transitions.emit('shown', transition)

before(async () => {
  await client.connect()
  await client.query(`
    INSERT INTO "Organization" (id, name, "updatedAt") VALUES ('hooli', 'Hooli', now());
    INSERT INTO "Host" (id, "organizationId", name) VALUES ('h1', 'hooli', 'fra-1');
    INSERT INTO "Container" (id, "hostId", name, "updatedAt") VALUES ('c1', 'h1', 'api', now())`)
  knex = knexFactory({ client: 'pg', connection: { connectionString } })
})

after(async () => {
  await knex('Organization').where({ id: 'hooli' }).delete()
  await knex.destroy()
  await client.end()
})

async function notified(): Promise<Transition> {
  const [transition] = await once(transitions, 'shown', { signal: AbortSignal.timeout(60_000) })
  return transition
}

function insert(cpuPercent: number, secondsAgo: number) {
  const timestamp = new Date(Date.now() - secondsAgo * 1000).toISOString().replace('Z', '')
  return knex('ContainerMetric').insert({ containerId: 'c1', timestamp, cpuPercent, memoryUsage: 1, memoryLimit: 10 })
}

test('LISTEN alerting tells each transition as it happens', async () => {
  const { rows } = await client.query(`SELECT alerting.create_rule('hooli', 'busy', 'CPU_USAGE', threshold => 80) AS id`)
  await client.query('LISTEN alerting')
  client.on('notification', ({ payload }) => show(JSON.parse(payload!)))

  const firing = notified()
  await insert(93, 20)
  const told = await firing
  assert.deepEqual([told.event, told.ruleId, told.containerId], ['alert.firing', rows[0].id, 'c1'])

  const resolved = notified()
  await insert(7, 10)
  assert.deepEqual(await resolved, { ...told, event: 'alert.resolved' })
})

test('Knex reads them as rows of a schema', async () => {
  const alerts = await knex('alerting.alert as a')
    .join('alerting.alert_rule as r', 'r.id', 'a.rule_id')
    .where('r.organization_id', 'hooli')
    .select('r.name', 'a.container_id', 'a.status', 'a.value', 'a.resolved_at')
  assert.equal(alerts.length, 1)
  const [{ resolved_at, ...alert }] = alerts
  assert.deepEqual(alert, { name: 'busy', container_id: 'c1', status: 'RESOLVED', value: 93 })
  assert.ok(resolved_at instanceof Date)
})
