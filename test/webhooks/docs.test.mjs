// The code that docs/webhooks.md shows is what the examples run, and all of it agrees with the
// example of the Standard Webhooks specification.
import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { mock, test } from 'node:test'
import Ajv2020 from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'
import { Webhook as StandardWebhook } from 'standardwebhooks'
import { Webhook as SvixWebhook } from 'svix'
import { verify } from '../../examples/node-receiver/verify.mjs'

const tree = new URL('../../', import.meta.url)
const read = (path) => readFileSync(new URL(path, tree), 'utf8')
const guide = read('docs/webhooks.md')
const blocks = (language) => [...guide.matchAll(/^```(\w+)\n(.*?)^```$/gms)].filter((m) => m[1] === language).map((m) => m[2])

const example = {
  secret: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
  id: 'msg_p5jXN8AQM9LWM0D4loKWxJek',
  timestamp: 1614265330,
  body: '{"test": 2432232314}',
  signature: 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
}
const headers = {
  'webhook-id': example.id, 'webhook-timestamp': String(example.timestamp), 'webhook-signature': example.signature,
}

test('libraries and the Node example agree with the specification\'s example', () => {
  mock.timers.enable({ apis: ['Date'], now: example.timestamp * 1000 })
  try {
    for (const Library of [StandardWebhook, SvixWebhook]) {
      assert.deepEqual(new Library(example.secret).verify(example.body, headers), { test: 2432232314 })
    }
    assert.deepEqual(verify(example.secret, headers, Buffer.from(example.body)), { test: 2432232314 })
    assert.throws(() => verify(example.secret, headers, Buffer.from(example.body + ' ')), /signature/)
  } finally {
    mock.timers.reset()
  }
  assert.throws(() => verify(example.secret, headers, Buffer.from(example.body)), /too old/)
})

test('the Python example agrees with it', () => {
  const program = `
import json, sys, time
from verify import verify
secret, timestamp, headers, body = json.load(sys.stdin)
time.time = lambda: timestamp
assert verify(secret, headers, body.encode()) == {"test": 2432232314}
for change in {"webhook-id": "x"}, {"webhook-timestamp": str(timestamp - 301)}, {"webhook-signature": "v1,"}:
    try:
        verify(secret, {**headers, **change}, body.encode())
    except ValueError:
        continue
    raise AssertionError(change)`
  execFileSync('python3', ['-c', program], {
    cwd: new URL('examples/python-receiver', tree), env: { ...process.env, PYTHONDONTWRITEBYTECODE: '1' },
    input: JSON.stringify([example.secret, example.timestamp, headers, example.body]),
  })
})

test('the guide shows the examples\' code', () => {
  assert.ok(blocks('js').includes(read('examples/node-receiver/verify.mjs')), 'Node')
  assert.ok(blocks('python').includes(read('examples/python-receiver/verify.py')), 'Python')
})

test('the guide\'s payload is as the schema says and as the README shows it', () => {
  const [payload] = blocks('json').map((text) => JSON.parse(text))
  const [readme] = [...read('README.md').matchAll(/^```json\n(.*?)^```$/gms)].map((m) => JSON.parse(m[1]))
  assert.deepEqual(payload, readme)
  const validate = addFormats(new Ajv2020({ strict: false })).compile(JSON.parse(read('docs/webhook.schema.json')))
  assert.ok(validate(payload), JSON.stringify(validate.errors))
})

const hasGo = spawnSync('go', ['version']).status === 0
test('the guide\'s Go code agrees with the example', { skip: !hasGo && 'no go on this machine' }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'alerting-go-'))
  try {
    writeFileSync(join(folder, 'verify.go'), blocks('go')[0].replace(/^package \w+/, 'package main'))
    writeFileSync(join(folder, 'main.go'), `package main

import (
	"net/http"
	"time"
)

func main() {
	header := http.Header{}
	header.Set("webhook-id", ${JSON.stringify(example.id)})
	header.Set("webhook-timestamp", ${JSON.stringify(String(example.timestamp))})
	header.Set("webhook-signature", ${JSON.stringify(example.signature)})
	body := []byte(${JSON.stringify(example.body)})
	at := time.Unix(${example.timestamp}, 0)
	if err := Verify(${JSON.stringify(example.secret)}, header, body, at); err != nil {
		panic(err)
	}
	if Verify(${JSON.stringify(example.secret)}, header, append(body, ' '), at) == nil {
		panic("a changed body was accepted")
	}
	if Verify(${JSON.stringify(example.secret)}, header, body, at.Add(301*time.Second)) == nil {
		panic("an old request was accepted")
	}
}
`)
    execFileSync('go', ['run', 'verify.go', 'main.go'], {
      cwd: folder, env: { ...process.env, GO111MODULE: 'off', GOCACHE: join(folder, 'cache') },
    })
  } finally {
    rmSync(folder, { recursive: true })
  }
})
