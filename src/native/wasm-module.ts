/**
 * Loads the WebAssembly modules that the build puts beside the compiled JavaScript (`x.wat` becomes
 * `x.wasm`) and binds them to a shared memory.
 *
 * A module imports `env.memory` declared as `(memory 1 65536 shared)`, the widest declaration there is,
 * so any shared memory fits. Compiled code is cached per thread; instances are cheap and belong to the
 * caller.
 */
import { readFileSync } from 'node:fs';

const compiledModules = new Map<string, WebAssembly.Module>();

/**
 * Instantiates the module at `wasmUrl` over `memory` and returns its exports; the caller, who knows the
 * source, gives them their type.
 *
 * Synchronous, because callers attach to shared memory in one step; the modules are a few hundred bytes.
 */
export function instantiateOnMemory<Exports extends object>(
  wasmUrl: URL,
  memory: WebAssembly.Memory,
): Readonly<Exports> {
  const instance = new WebAssembly.Instance(compileOnce(wasmUrl), { env: { memory } });
  return instance.exports as Exports;
}

function compileOnce(wasmUrl: URL): WebAssembly.Module {
  const cached = compiledModules.get(wasmUrl.href);
  if (cached !== undefined) return cached;
  const compiled = new WebAssembly.Module(readFileSync(wasmUrl));
  compiledModules.set(wasmUrl.href, compiled);
  return compiled;
}
