// A small monitoring API on alerting, through the generated client only.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { after, before, test } from 'node:test'
import { prisma, settled } from './client.ts'
import { Receiver } from './receiver.ts'

const receiver = new Receiver()
const now = Date.now()
const minutesAgo = (minutes: number) => new Date(now - minutes * 60_000)

const acme = { organizationId: '', web: '', db: '', cpuRule: '', webhook: '' }

/** One sample; what is not said is harmless. */
function sample(containerId: string, timestamp: Date, reading: { cpuPercent?: number; memoryUsage?: bigint } = {}) {
  return { containerId, timestamp, cpuPercent: 5, memoryUsage: 100n, memoryLimit: 1000n, ...reading }
}

before(async () => {
  const url = await receiver.start()
  const organization = await prisma.organization.create({
    data: {
      name: 'Acme',
      hosts: { create: { name: 'ams-1', containers: { create: [{ name: 'web' }, { name: 'db' }] } } },
      alertRules: {
        create: [
          { name: 'busy', condition: 'CPU_USAGE', threshold: 80, duration: 2 },
          { name: 'full', condition: 'MEMORY_USAGE', threshold: 90 },
          { name: 'down', condition: 'CONTAINER_DOWN' },
        ],
      },
      webhooks: { create: { url, secret: 'whsec_c2VjcmV0IG9mIHRoZSBwcmlzbWEgdGVzdA==' } },
    },
    include: { alertRules: true, webhooks: true, hosts: { include: { containers: true } } },
  })
  const containers = organization.hosts[0]!.containers
  acme.organizationId = organization.id
  acme.web = containers.find(({ name }) => name === 'web')!.id
  acme.db = containers.find(({ name }) => name === 'db')!.id
  acme.cpuRule = organization.alertRules.find(({ name }) => name === 'busy')!.id
  acme.webhook = organization.webhooks[0]!.id
})

after(async () => {
  receiver.stop()
  await prisma.$disconnect()
})

test('rules and webhooks are rows as any other', async () => {
  const rules = await prisma.alertRule.findMany({
    where: { organizationId: acme.organizationId }, orderBy: { name: 'asc' },
  })
  assert.deepEqual(
    rules.map(({ name, threshold, duration, noData, enabled }) => ({ name, threshold, duration, noData, enabled })),
    [
      { name: 'busy', threshold: 80, duration: 2, noData: 'keep', enabled: true },
      { name: 'down', threshold: null, duration: 0, noData: 'fire', enabled: true },
      { name: 'full', threshold: 90, duration: 0, noData: 'keep', enabled: true },
    ],
  )
  assert.match(acme.cpuRule, /^c[a-z0-9]{24}$/)

  const webhook = await prisma.webhook.findUniqueOrThrow({ where: { id: acme.webhook } })
  assert.equal(webhook.isActive, true)
  assert.ok(!('secret' in webhook), 'the secret is not read')
})

test('a rule that makes no sense is refused, and says why', async () => {
  await assert.rejects(
    prisma.alertRule.create({
      data: { organizationId: acme.organizationId, name: 'no threshold', condition: 'CPU_USAGE' },
    }),
    /alert_rule_threshold_required.*threshold is null/,
  )
  await assert.rejects(
    prisma.webhook.create({ data: { organizationId: acme.organizationId, url: 'ftp://example.com' } }),
    /URL is not an absolute http or https URL/,
  )
})

test('createMany of metrics raises alerts', async () => {
  await prisma.containerMetric.createMany({
    data: [
      sample(acme.web, minutesAgo(10)),
      sample(acme.web, minutesAgo(9), { cpuPercent: 85 }),
      sample(acme.web, minutesAgo(8), { cpuPercent: 90 }),
      sample(acme.web, minutesAgo(7), { cpuPercent: 95.5 }),
      sample(acme.db, minutesAgo(9), { memoryUsage: 950n }),
    ],
  })
  assert.ok(await settled())

  const alerts = await prisma.alert.findMany({
    where: { rule: { organizationId: acme.organizationId } },
    include: {
      rule: true,
      container: { include: { host: { include: { organization: true } } } },
      deliveries: { include: { deliveryAttempts: true, webhook: true } },
    },
    orderBy: { rule: { name: 'asc' } },
  })
  assert.deepEqual(
    alerts.map(({ rule, container, status, value }) => [rule.name, container.name, status, value]),
    [['busy', 'web', 'FIRING', 95.5], ['full', 'db', 'FIRING', 95]],
  )
  const [busy] = alerts
  assert.equal(busy!.startedAt.getTime(), minutesAgo(9).getTime())
  assert.equal(busy!.firedAt.getTime(), minutesAgo(7).getTime())
  assert.equal(busy!.resolvedAt, null)
  assert.equal(busy!.container.host.organization.name, 'Acme')

  const [delivery] = busy!.deliveries
  assert.equal(delivery!.status, 'DELIVERED')
  assert.equal(delivery!.webhook.id, acme.webhook)
  assert.deepEqual(
    delivery!.deliveryAttempts.map(({ statusCode, error, response }) => ({ statusCode, error, response })),
    [{ statusCode: 200, error: null, response: 'noted' }],
  )
  assert.deepEqual(
    receiver.received.map(({ type, data }) => [type, data.rule.name, data.container.name]).sort(),
    [['alert.firing', 'busy', 'web'], ['alert.firing', 'full', 'db']],
  )
  assert.ok(receiver.received.some(({ id }) => id === delivery!.id), 'webhook-id is the delivery\'s id')
})

test('the next harmless reading resolves them', async () => {
  await prisma.containerMetric.createMany({ data: [sample(acme.web, minutesAgo(6)), sample(acme.db, minutesAgo(6))] })
  assert.ok(await settled())

  const container = await prisma.container.findUniqueOrThrow({ where: { id: acme.web }, include: { alerts: true } })
  assert.deepEqual(
    container.alerts.map(({ status, resolvedAt, resolveReason }) => [status, resolvedAt?.getTime(), resolveReason]),
    [['RESOLVED', minutesAgo(6).getTime(), 'RECOVERED']],
  )
  const firing = await prisma.alert.count({ where: { status: 'FIRING', containerId: { in: [acme.web, acme.db] } } })
  assert.equal(firing, 0)
  assert.equal(receiver.received.filter(({ type }) => type === 'alert.resolved').length, 2)
})

test('an updated container counts, a rolled-back transaction does not', async () => {
  await assert.rejects(
    prisma.$transaction(async (tx) => {
      await tx.container.update({ where: { id: acme.web }, data: { state: 'exited' } })
      throw new Error('changed my mind')
    }),
    /changed my mind/,
  )
  assert.ok(await settled())
  assert.equal(await prisma.alert.count({ where: { rule: { name: 'down' } } }), 0)

  await prisma.container.update({ where: { id: acme.web }, data: { state: 'exited' } })
  assert.ok(await settled())
  const down = await prisma.alert.findFirstOrThrow({ where: { rule: { name: 'down' } }, include: { container: true } })
  assert.deepEqual([down.status, down.container.name], ['FIRING', 'web'])
})

test('a rule switched off resolves its alerts', async () => {
  await prisma.alertRule.updateMany({
    where: { organizationId: acme.organizationId, name: 'down' }, data: { enabled: false },
  })
  assert.ok(await settled())
  const down = await prisma.alert.findFirstOrThrow({ where: { rule: { name: 'down' } } })
  assert.deepEqual([down.status, down.resolveReason], ['RESOLVED', 'RULE_DISABLED'])
})

test('what an endpoint refuses can be read and sent again', async () => {
  receiver.status = 500
  await prisma.$executeRaw`UPDATE alerting.webhook SET retry_schedule = '{}' WHERE id = ${acme.webhook}`
  await prisma.containerMetric.create({ data: sample(acme.db, minutesAgo(5), { memoryUsage: 990n }) })
  assert.ok(await settled())
  const failed = await prisma.delivery.findFirstOrThrow({
    where: { webhookId: acme.webhook, status: 'FAILED' }, include: { alert: true, deliveryAttempts: true },
  })
  assert.deepEqual(
    [failed.event, failed.attempts, failed.lastStatus, failed.alert?.status, failed.deliveryAttempts.length],
    ['alert.firing', 1, 500, 'FIRING', 1],
  )

  receiver.status = 200
  await prisma.$executeRaw`SELECT alerting.redeliver(${failed.id})`
  assert.ok(await settled())
  const again = await prisma.delivery.findUniqueOrThrow({ where: { id: failed.id } })
  assert.equal(again.status, 'DELIVERED')
  assert.equal(receiver.received.filter(({ id }) => id === failed.id).length, 2, 'the same id both times')
})

test('a webhook with a new secret is tested', async () => {
  const secret = `whsec_${randomBytes(32).toString('base64')}`
  const webhook = await prisma.webhook.update({ where: { id: acme.webhook }, data: { secret } })
  type Answer = { delivered: boolean; status_code: number | null; error: string | null }
  const [answer] = await prisma.$queryRaw<Answer[]>`SELECT * FROM alerting.test_webhook(${webhook.id})`
  assert.deepEqual([answer?.delivered, answer?.status_code, answer?.error], [true, 200, null])
  assert.equal(receiver.received.at(-1)?.type, 'ping')
})

test('the state is read without intervals', async () => {
  const [status] = await prisma.$queryRaw<{ state: string; lag: string }[]>`SELECT state, lag::text FROM alerting.status()`
  assert.equal(status?.state, 'running')
})

test('an organization goes with all that is its own', async () => {
  await prisma.organization.delete({ where: { id: acme.organizationId } })
  assert.deepEqual(
    await Promise.all([
      prisma.alertRule.count({ where: { organizationId: acme.organizationId } }),
      prisma.webhook.count({ where: { organizationId: acme.organizationId } }),
      prisma.alert.count({ where: { containerId: { in: [acme.web, acme.db] } } }),
      prisma.delivery.count({ where: { webhookId: acme.webhook } }),
    ]),
    [0, 0, 0, 0],
  )
  assert.ok(await settled(), 'the workers go on')
})
