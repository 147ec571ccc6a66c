/** A Vite plugin that writes licenses.txt: the notices of the packages whose code is in the build. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Plugin } from 'vite';

interface Manifest {
  version: string;
  license?: string;
  dependencies?: Record<string, string>;
}

/** Packages that arrive with their own dependencies already bundled in. */
const prebundled = ['livekit-client'];

function manifest(name: string): Manifest {
  return JSON.parse(readFileSync(join('node_modules', name, 'package.json'), 'utf8')) as Manifest;
}

function notice(name: string): string {
  const { version, license } = manifest(name);
  const dir = join('node_modules', name);
  const file = readdirSync(dir)
    .filter((f) => /^(licen[cs]e|notice)/i.test(f))
    .sort()
    .map((f) => readFileSync(join(dir, f), 'utf8').replaceAll('\r\n', '\n').trim())
    .join('\n\n');
  return `${name} ${version} (${license ?? 'see below'})\n\n${file || 'No licence file in the package.'}\n`;
}

/** withDependencies follows what a package brings along, as far as it is installed. */
function withDependencies(name: string, seen: Set<string>): void {
  if (seen.has(name) || !existsSync(join('node_modules', name))) return;
  seen.add(name);
  for (const dependency of Object.keys(manifest(name).dependencies ?? {})) withDependencies(dependency, seen);
}

export function licenses(): Plugin {
  return {
    name: 'concertina-licenses',
    generateBundle(_options, bundle) {
      const names = new Set<string>();
      for (const chunk of Object.values(bundle)) {
        if (chunk.type !== 'chunk') continue;
        for (const id of chunk.moduleIds) {
          const name = /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(id)?.[1];
          if (name !== undefined && prebundled.includes(name)) withDependencies(name, names);
          else if (name !== undefined) names.add(name);
        }
      }
      const rule = `\n${'-'.repeat(78)}\n\n`;
      const source = 'These pages contain code of the following packages.\n' + rule + [...names].sort().map(notice).join(rule);
      this.emitFile({ type: 'asset', fileName: 'licenses.txt', source });
    },
  };
}
