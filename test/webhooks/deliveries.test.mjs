// Real deliveries: verified by the libraries that receivers use, refused when tampered with, shaped
// as the JSON Schema says, and understood by the example receivers.
import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { createHmac } from 'node:crypto'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createSecureServer } from 'node:http2'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import Ajv2020 from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'
import { Webhook as StandardWebhook } from 'standardwebhooks'
import { Webhook as SvixWebhook } from 'svix'
import {
  Recorder, addWebhook, containerName, database, makeHost, organizationName, plainSecret, query, secret, tellStory,
} from './fixture.mjs'

const tree = new URL('../../', import.meta.url)
const recorder = new Recorder()
const examples = {
  node: { command: process.execPath, script: 'examples/node-receiver/receiver.mjs' },
  python: { command: 'python3', script: 'examples/python-receiver/receiver.py' },
}
const webhooks = {}

async function startExample(example) {
  example.process = spawn(example.command, [new URL(example.script, tree).pathname], {
    env: { ...process.env, ALERTING_SECRET: secret, PORT: '0', PYTHONDONTWRITEBYTECODE: '1' },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  example.output = ''
  const port = await new Promise((resolve, reject) => {
    example.process.on('exit', (code) => reject(new Error(`${example.script} ended with ${code}`)))
    example.process.stdout.on('data', (chunk) => {
      example.output += chunk
      const ready = /^ready (\d+)/m.exec(example.output)
      if (ready) resolve(ready[1])
    })
  })
  example.url = `http://127.0.0.1:${port}`
}

before(async () => {
  await recorder.start()
  await database.connect()
  await makeHost()
  for (const example of Object.values(examples)) await startExample(example)
  webhooks.signed = await addWebhook(`${recorder.url}/signed`, secret)
  webhooks.plain = await addWebhook(`${recorder.url}/plain`, plainSecret)
  webhooks.unsigned = await addWebhook(`${recorder.url}/unsigned`, null)
  for (const example of Object.values(examples)) example.webhook = await addWebhook(example.url, secret)
  await tellStory()
  for (const id of [webhooks.signed, ...Object.values(examples).map(({ webhook }) => webhook)]) {
    const [ping] = await query('SELECT * FROM alerting.test_webhook($1)', [id])
    assert.ok(ping.delivered, `ping: ${ping.error}`)
  }
})

after(async () => {
  for (const { process } of Object.values(examples)) process?.kill()
  recorder.stop()
  await database.end()
})

/** With the header names and values of a request, and another body, id, time, ... */
const changed = (headers, change) => ({ ...headers, ...change })
const event = ({ body }) => JSON.parse(body.toString('utf8'))

test('the story has every event, condition and reason', () => {
  const events = recorder.at('/signed').map(event)
  const values = (pick) => [...new Set(events.map(pick).filter((value) => value != null))].sort()
  assert.deepEqual(values(({ type }) => type), ['alert.firing', 'alert.resolved', 'ping'])
  assert.deepEqual(
    values(({ data }) => data.rule?.condition), ['CONTAINER_DOWN', 'CPU_USAGE', 'MEMORY_USAGE', 'RESTART_LOOP'])
  assert.deepEqual(values(({ data }) => data.alert?.resolveReason), [
    'ALERT_DELETED', 'CONTAINER_DELETED', 'CONTAINER_MOVED', 'NO_DATA', 'RECOVERED', 'RULE_CHANGED', 'RULE_DELETED',
    'RULE_DISABLED'])
})

test('standardwebhooks and svix verify every delivery', () => {
  const requests = recorder.at('/signed')
  assert.ok(requests.length > 20)
  for (const { headers, body } of requests) {
    for (const library of [new StandardWebhook(secret), new SvixWebhook(secret)]) {
      assert.deepEqual(library.verify(body.toString('utf8'), headers), event({ body }))
    }
  }
})

test('they reject what was tampered with', () => {
  for (const { headers, body } of recorder.at('/signed').slice(0, 5)) {
    const text = body.toString('utf8')
    const old = String(Number(headers['webhook-timestamp']) - 301)
    const key = Buffer.from(secret.slice('whsec_'.length), 'base64')
    const resigned = createHmac('sha256', key).update(`${headers['webhook-id']}.${old}.${text}`).digest('base64')
    for (const [what, library, sent, received] of [StandardWebhook, SvixWebhook].flatMap((Library) => {
      const right = new Library(secret)
      const { 'webhook-signature': _, ...unsigned } = headers
      return [
        ['the body', right, text.replace('FIRING', 'RESOLVED') + ' ', headers],
        ['the id', right, text, changed(headers, { 'webhook-id': 'c0000000000000000000000000' })],
        ['the time', right, text, changed(headers, { 'webhook-timestamp': old })],
        ['age', right, text, changed(headers, { 'webhook-timestamp': old, 'webhook-signature': `v1,${resigned}` })],
        ['the signature', right, text, changed(headers, { 'webhook-signature': `v1,${Buffer.alloc(32).toString('base64')}` })],
        ['no signature', right, text, unsigned],
        ['another secret', new Library(`whsec_${Buffer.from('another key').toString('base64')}`), text, headers],
      ]
    })) {
      assert.throws(() => library.verify(sent, received), undefined, `${library.constructor.name}: ${what}`)
    }
  }
})

test('a secret that is no base64 is used as its bytes', () => {
  const library = new StandardWebhook(Buffer.from(plainSecret), { format: 'raw' })
  for (const { headers, body } of recorder.at('/plain')) library.verify(body.toString('utf8'), headers)
  assert.ok(recorder.at('/plain').length > 20)
})

test('without a secret there is no signature, and the same events', () => {
  const requests = recorder.at('/unsigned')
  assert.ok(requests.every(({ headers }) => headers['webhook-signature'] === undefined && headers['webhook-id']))
  const summaries = (path) => recorder.at(path).map(event).map(({ data }) => data.summary).filter(Boolean).sort()
  assert.deepEqual(summaries('/unsigned'), summaries('/signed'))
})

test('headers say what the body is and which delivery it is', async () => {
  const known = new Map((await query('SELECT id, webhook_id, payload FROM alerting.delivery')).map((row) => [row.id, row]))
  for (const { headers, body } of recorder.at('/signed')) {
    assert.equal(headers['content-type'], 'application/json')
    assert.match(headers['user-agent'], /^alerting\//)
    const delivery = known.get(headers['webhook-id'])
    assert.equal(delivery.webhook_id, webhooks.signed)
    assert.deepEqual(event({ body }), delivery.payload)
  }
})

test('bodies are as docs/webhook.schema.json says, and have nothing that it does not', () => {
  const schema = JSON.parse(readFileSync(new URL('docs/webhook.schema.json', tree)))
  const ajv = addFormats(new Ajv2020({ strict: true, strictRequired: false, strictTypes: false, allErrors: true }))
  const validate = ajv.compile(schema)
  const closed = JSON.parse(JSON.stringify(schema), (_, value) =>
    value?.properties && value.type === 'object' && value !== null ? { ...value, unevaluatedProperties: false } : value)
  closed.$id += ':closed'
  const validateClosed = ajv.compile(closed)
  for (const request of recorder.requests) {
    const body = event(request)
    assert.ok(validate(body), JSON.stringify([validate.errors, body], null, 1))
    assert.ok(validateClosed(body), JSON.stringify([validateClosed.errors, body], null, 1))
  }

  const firing = recorder.at('/signed').map(event).find(({ type }) => type === 'alert.firing')
  for (const break_ of [
    (body) => delete body.data.alert.id, (body) => { body.type = 'alert.gone' }, (body) => { body.data.container.id = 1 },
    (body) => { body.data.alert.status = 'RESOLVED' }, (body) => { body.data.alert.startedAt = 'yesterday' },
    (body) => { body.data.rule.threshold = '80' }, (body) => { body.data.alert.resolveReason = 'RECOVERED' },
  ]) {
    const broken = structuredClone(firing)
    break_(broken)
    assert.ok(!validate(broken), `accepted without ${break_}`)
  }
})

test('every resolved event follows its firing one and agrees with it', () => {
  for (const path of ['/signed', '/plain', '/unsigned']) {
    const firing = new Map()
    for (const body of recorder.at(path).map(event)) {
      if (body.type === 'alert.firing') firing.set(body.data.alert.id, body)
      if (body.type !== 'alert.resolved') continue
      const first = firing.get(body.data.alert.id)
      assert.ok(first, `${body.data.summary}: nothing fired before`)
      for (const part of ['rule', 'container', 'organization']) assert.deepEqual(body.data[part], first.data[part])
      const { status, resolvedAt, resolveReason, ...rest } = body.data.alert
      assert.deepEqual({ ...rest, status: 'FIRING', resolvedAt: null, resolveReason: null }, first.data.alert)
      assert.ok(body.timestamp === resolvedAt && first.timestamp === first.data.alert.firedAt)
    }
  }
})

test('names, numbers and ids arrive as they are', () => {
  const { data } = recorder.at('/signed').map(event).find(({ data }) => data.rule?.name === 'cpu' && data.container.id === '1')
  assert.deepEqual(data.container, { id: '1', name: containerName })
  assert.deepEqual(data.organization, { id: 'acme', name: organizationName })
  assert.equal(data.alert.value, 97.25)
  assert.equal(data.summary, `${containerName}: CPU usage 97.3 % is above 80 %`)
})

test('HTTP/2 where TLS offers it, over one kept connection', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'alerting-http2-'))
  chmodSync(folder, 0o755)
  const [key, cert] = ['key.pem', 'cert.pem'].map((file) => join(folder, file))
  execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-subj', '/CN=test', '-days', '1',
    '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', key, '-out', cert], { stdio: 'ignore' })
  const seen = []
  const server = createSecureServer({ key: readFileSync(key), cert: readFileSync(cert), allowHTTP1: true })
  server.on('request', (request, response) => {
    request.resume().on('end', () => {
      seen.push([request.httpVersion, request.headers['webhook-id'], request.socket.remotePort])
      response.writeHead(204).end()
    })
  })
  const sessions = new Set()
  server.on('session', (session) => sessions.add(session))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  try {
    await query(`ALTER SYSTEM SET alerting.ca_file = '${cert}'`)
    await query('SELECT pg_reload_conf()')
    const id = await addWebhook(`https://127.0.0.1:${server.address().port}/`, secret)
    // Until the sender has heard of the setting an attempt fails, and is made again.
    await query(`UPDATE alerting.webhook SET retry_schedule = array_fill('50 ms'::interval, '{100}'), max_concurrent = 1 WHERE id = $1`, [id])
    await query(`INSERT INTO alerting.delivery (webhook_id, event, payload) SELECT $1, 'ping', '{}' FROM generate_series(1, 5)`, [id])
    await query(`SELECT alerting.flush('60s', deliveries => true)`)
    const made = await query('SELECT id FROM alerting.delivery WHERE webhook_id = $1', [id])
    assert.deepEqual(seen.map(([, delivery]) => delivery).sort(), made.map((row) => row.id).sort())
    assert.deepEqual(new Set(seen.map(([version]) => version)), new Set(['2.0']))
    assert.equal(new Set(seen.map(([, , port]) => port)).size, 1)
  } finally {
    await query('ALTER SYSTEM RESET alerting.ca_file')
    for (const session of sessions) session.destroy()
    server.close()
    rmSync(folder, { recursive: true })
  }
})

for (const [name, example] of Object.entries(examples)) {
  test(`the ${name} receiver knows which incidents are open`, async () => {
    const open = await (await fetch(`${example.url}/incidents`)).json()
    const firing = await query(
      `SELECT id FROM alerting.alert WHERE status = 'FIRING'
        AND id IN (SELECT alert_id FROM alerting.delivery WHERE webhook_id = $1)`, [example.webhook])
    assert.deepEqual(Object.keys(open).sort(), firing.map(({ id }) => id).sort())
    const failed = await query(
      `SELECT last_status, last_error FROM alerting.delivery WHERE webhook_id = $1 AND status <> 'DELIVERED'`,
      [example.webhook])
    assert.deepEqual(failed, [])
    assert.match(example.output, /alert\.resolved .*recovered/)
  })

  test(`the ${name} receiver refuses forgeries and takes repetitions once`, async () => {
    const library = new StandardWebhook(secret)
    const send = (id, body, change = {}) => {
      const at = new Date()
      return fetch(example.url, { method: 'POST', body, headers: {
        'webhook-id': id, 'webhook-timestamp': String(Math.floor(at / 1000)),
        'webhook-signature': library.sign(id, at, body), ...change } })
    }
    const incidents = async () => Object.keys(await (await fetch(`${example.url}/incidents`)).json())
    const body = (type) => JSON.stringify({ type, data: { alert: { id: 'mine' }, summary: type } })

    for (const change of [
      { 'webhook-signature': `v1,${Buffer.alloc(32).toString('base64')}` }, { 'webhook-signature': 'v1' },
      { 'webhook-signature': 'v2,AAAA' }, { 'webhook-timestamp': '1614265330' }, { 'webhook-timestamp': 'now' },
      { 'webhook-id': 'other' },
    ]) {
      const answer = await send('forged', body('alert.firing'), change)
      assert.equal(answer.status, 401, JSON.stringify(change))
    }
    assert.equal((await fetch(example.url, { method: 'POST', body: body('alert.firing') })).status, 401)
    assert.ok(!(await incidents()).includes('mine'))

    assert.equal((await send('first', body('alert.firing'))).status, 204)
    assert.ok((await incidents()).includes('mine'))
    assert.equal((await send('second', body('alert.resolved'))).status, 204)
    assert.equal((await send('first', body('alert.firing'))).status, 204, 'a repetition is no error')
    assert.ok(!(await incidents()).includes('mine'))

    // During a rotation of secrets a request carries two signatures.
    const rotated = JSON.stringify({ type: 'ping', data: {} })
    const at = new Date()
    const both = `v1,${Buffer.alloc(32).toString('base64')} ${library.sign('third', at, rotated)}`
    const answer = await send('third', rotated, {
      'webhook-signature': both, 'webhook-timestamp': String(Math.floor(at / 1000)) })
    assert.equal(answer.status, 204)
    assert.equal((await send('huge', 'x'.repeat((1 << 20) + 1)).catch(() => ({ status: 413 }))).status, 413)
  })
}
