// Pages in real browsers, each one a participant (page/client.js).

import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { dirname, extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import puppeteer from 'puppeteer-core';

const suite = dirname(dirname(fileURLToPath(import.meta.url)));
const sdk = join(suite, 'node_modules', 'livekit-client', 'dist');
const types = { '.html': 'text/html', '.js': 'text/javascript', '.mjs': 'text/javascript', '.map': 'application/json' };

const chromiumFlags = [
  '--no-sandbox',
  '--use-fake-device-for-media-stream=fps=30',
  '--use-fake-ui-for-media-stream',
  '--autoplay-policy=no-user-gesture-required',
  '--disable-background-networking',
  '--disable-background-timer-throttling',
  '--disable-backgrounding-occluded-windows',
  '--disable-renderer-backgrounding',
  '--disable-component-update',
  '--disable-sync',
  '--disable-quic',
  '--no-first-run',
  '--window-size=700,500',
];

const firefoxPrefs = {
  'media.navigator.streams.fake': true,
  'media.navigator.permission.disabled': true,
  'media.autoplay.default': 0,
  'media.peerconnection.ice.loopback': true,
  'media.peerconnection.ice.obfuscate_host_addresses': false,
  'media.peerconnection.ice.proxy_only': false,
  // Makes Firefox a viewer that lacks a codec.
  'media.webrtc.codec.video.av1.enabled': false,
  'media.gmp-manager.url': '',
  'media.gmp-provider.enabled': false,
  'app.update.enabled': false,
  'network.captive-portal-service.enabled': false,
  'network.connectivity-service.enabled': false,
};

/** Starts a browser ('chromium' or 'firefox') and the server of its page. */
export async function launch(kind = 'chromium') {
  const server = createServer(serve).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const browser = await puppeteer.launch(
    kind === 'firefox'
      ? { browser: 'firefox', executablePath: process.env.FIREFOX ?? '/usr/bin/firefox-esr', headless: true, extraPrefsFirefox: firefoxPrefs }
      : { executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', headless: true, args: chromiumFlags },
  );
  return new Browser(kind, browser, server);
}

class Browser {
  constructor(kind, browser, server) {
    this.kind = kind;
    this.browser = browser;
    this.server = server;
    this.url = `http://127.0.0.1:${server.address().port}/page.html`;
  }

  /** A fresh page with a participant of its own; name marks its console lines. */
  async open(name) {
    const context = await this.browser.createBrowserContext();
    const page = await context.newPage();
    const client = new PageClient(page, context, name);
    await page.goto(this.url);
    await page.waitForFunction(() => window.client !== undefined);
    return client;
  }

  async close() {
    await this.browser.close();
    this.server.closeAllConnections();
    this.server.close();
  }
}

/** The methods of page/client.js, called from here. */
class PageClient {
  console = [];

  constructor(page, context, name) {
    this.page = page;
    this.context = context;
    this.name = name;
    page.on('console', (message) => {
      this.console.push(`${message.type()} ${message.text()}`);
      if (process.env.E2E_CONSOLE) process.stderr.write(`[${name}] ${message.type()} ${message.text()}\n`);
    });
    page.on('pageerror', (err) => this.console.push(`pageerror ${err.message}`));
    for (const method of ['connect', 'publish', 'disconnect', 'wait', 'mark', 'simulate', 'count', 'counted', 'frames', 'now', 'inbound', 'outbound', 'transports']) {
      this[method] = (...args) => this.#call(method, args);
    }
  }

  #call(method, args) {
    return this.page.evaluate((name, list) => window.client[name](...list), method, args);
  }

  /** Runs fn(client, ...args) in the page. */
  eval(fn, ...args) {
    return this.page.evaluate((source, list) => (0, eval)(`(${source})`)(window.client, ...list), fn.toString(), args);
  }

  async close() {
    await this.context.close();
  }
}

async function serve(request, response) {
  const name = new URL(request.url, 'http://page').pathname.slice(1);
  const directory = name.startsWith('livekit-client') ? sdk : join(suite, 'page');
  try {
    if (name.includes('..') || name.includes('/')) throw new Error('outside');
    const body = await readFile(join(directory, name));
    response.writeHead(200, { 'content-type': types[extname(name)] ?? 'application/octet-stream' }).end(body);
  } catch {
    response.writeHead(404).end();
  }
}
