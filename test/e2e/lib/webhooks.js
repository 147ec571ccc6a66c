// A webhook receiver that checks signatures with livekit-server-sdk.

import { once } from 'node:events';
import { createServer } from 'node:http';
import { WebhookReceiver } from 'livekit-server-sdk';
import { apiKey, apiSecret } from './target.js';
import { until } from './wait.js';

/** Starts a receiver on the host and port given, or on a free port. */
export async function receiveWebhooks(listen = '127.0.0.1:0') {
  const [host, port] = listen.split(':');
  const receiver = new WebhookReceiver(apiKey, apiSecret);
  const hooks = new Webhooks();
  hooks.server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    try {
      const event = await receiver.receive(body, request.headers.authorization);
      const refuse = hooks.refuse?.(event);
      hooks.all.push({ event, refused: Boolean(refuse), type: request.headers['content-type'] });
      response.writeHead(refuse ? 503 : 200).end();
    } catch (err) {
      hooks.bad.push(`${err.message}: ${body}`);
      response.writeHead(401).end();
    }
  }).listen(Number(port), host);
  await once(hooks.server, 'listening');
  hooks.url = `http://${host}:${hooks.server.address().port}/`;
  return hooks;
}

class Webhooks {
  /** Every delivery in order, those refused too. */
  all = [];
  /** What could not be verified. */
  bad = [];
  /** Answers true for an event that is to be refused with 503. */
  refuse = undefined;

  /** The accepted events of a room, in order of arrival. */
  of(room) {
    return this.all.filter(({ event, refused }) => !refused && event.room?.name === room).map(({ event }) => event);
  }

  /** Waits for an event of a room, by name and participant. */
  wait(room, name, identity, timeout = 10_000) {
    return until(() => this.of(room).find(({ event, participant }) => event === name && (!identity || participant?.identity === identity)), {
      timeout,
      what: `webhook ${name} of ${identity ?? room}`,
    }).catch((err) => {
      throw new Error(`${err.message}; got ${this.of(room).map(({ event }) => event)}; unverified ${this.bad}`, { cause: err });
    });
  }

  close() {
    this.server.closeAllConnections();
    this.server.close();
  }
}
