// A receiver of alerting's webhooks without any package: verifies, sees each event once, and keeps
// the list of open incidents.
//
//   ALERTING_SECRET=whsec_... PORT=3000 node receiver.mjs
//
// POST anywhere delivers; GET /incidents shows what is open.
import { createServer } from 'node:http'
import { verify } from './verify.mjs'

const secret = process.env.ALERTING_SECRET
if (!secret) {
  console.error('ALERTING_SECRET is not set')
  process.exit(1)
}
const largestBody = 1 << 20

const incidents = new Map() // alert id -> summary
const seen = new Set() // webhook ids; a database table in a real application
const mostSeen = 100_000

function handle(id, event) {
  // The same delivery may come twice: its answer was lost, or somebody sent it again.
  if (seen.has(id)) return
  const { alert, summary } = event.data
  if (event.type === 'alert.firing') incidents.set(alert.id, summary)
  if (event.type === 'alert.resolved') incidents.delete(alert.id)
  console.log(event.type, summary ?? '')
  // Noted only now: had the work failed, the next try must do it again.
  seen.add(id)
  if (seen.size > mostSeen) seen.delete(seen.values().next().value)
}

async function readBody(request) {
  const chunks = []
  let size = 0
  for await (const chunk of request) {
    size += chunk.length
    if (size > largestBody) throw Object.assign(new Error('the body is too large'), { status: 413 })
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

const server = createServer(async (request, response) => {
  if (request.method === 'GET' && request.url === '/incidents') {
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(Object.fromEntries(incidents)))
    return
  }
  let body, event
  try {
    body = await readBody(request)
    event = verify(secret, request.headers, body)
  } catch (error) {
    response.writeHead(error.status ?? 401, { connection: 'close' }).end(error.message)
    return
  }
  try {
    handle(request.headers['webhook-id'], event)
    response.writeHead(204).end()
  } catch (error) {
    console.error(error)
    response.writeHead(500).end() // it comes again
  }
})

server.listen(Number(process.env.PORT ?? 3000), process.env.HOST ?? '127.0.0.1', () => {
  console.log('ready', server.address().port)
})
