import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vitest/config';
import type { Plugin } from 'vite';
import { licenses } from './licenses.ts';

const server = 'http://127.0.0.1:7880';

/** pages makes `vite` answer /meet and /console as the Go handler does. */
function pages(): Plugin {
  return {
    name: 'concertina-pages',
    configureServer(dev) {
      dev.middlewares.use((req, _res, next) => {
        const path = (req.url ?? '').split('?')[0] ?? '';
        const rest = (req.url ?? '').slice(path.length);
        if (/^\/meet(\/[^.]*)?$/.test(path)) req.url = '/console/meet.html' + rest;
        else if (/^\/console(\/rooms.*)?\/?$/.test(path)) req.url = '/console/console.html' + rest;
        next();
      });
    },
  };
}

export default defineConfig({
  base: '/console/',
  plugins: [svelte(), pages(), licenses()],
  build: {
    target: 'es2022',
    cssTarget: ['chrome111', 'firefox113', 'safari16.4'],
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 900,
    rolldownOptions: { input: ['meet.html', 'console.html'] },
  },
  server: {
    proxy: {
      '/api': server,
      '/twirp': server,
      '/rtc': { target: server, ws: true },
    },
  },
  test: { include: ['src/**/*.test.ts'], environment: 'node' },
});
