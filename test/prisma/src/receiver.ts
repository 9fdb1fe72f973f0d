// An endpoint for webhooks that keeps what it got, and can be told to fail.
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface Received {
  id: string
  type: string
  data: { alert: { id: string; status: string }; rule: { name: string }; container: { name: string } }
}

export class Receiver {
  readonly received: Received[] = []
  status = 200

  private readonly server = createServer(async (request, response) => {
    let body = ''
    for await (const chunk of request) body += chunk
    this.received.push({ ...JSON.parse(body), id: request.headers['webhook-id'] })
    response.writeHead(this.status).end('noted')
  })

  async start(): Promise<string> {
    await new Promise<void>((resolve) => this.server.listen(0, '127.0.0.1', resolve))
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}/alerts`
  }

  stop() {
    this.server.close()
    this.server.closeAllConnections()
  }
}
