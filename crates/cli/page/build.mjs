// Builds the page into a folder: `node build.mjs FOLDER`. The same sources give the same bytes.
import { copyFile, mkdir } from 'node:fs/promises';
import { join } from 'node:path';

import { build } from 'esbuild';

const [folder] = process.argv.slice(2);
await mkdir(folder, { recursive: true });
await build({
  entryPoints: { page: 'src/app.tsx' },
  bundle: true,
  minify: true,
  format: 'esm',
  target: 'es2022',
  jsx: 'automatic',
  jsxImportSource: 'preact',
  legalComments: 'none',
  charset: 'utf8',
  outdir: folder,
});
await build({ entryPoints: { page: 'src/style.css' }, minify: true, outdir: folder });
for (const file of ['index.html', 'icon.svg']) await copyFile(join('src', file), join(folder, file));
