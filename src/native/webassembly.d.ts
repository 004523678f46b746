/**
 * The part of the WebAssembly JavaScript interface that this library uses. It is declared here because
 * TypeScript ships these types only with the DOM, whose globals have no business in this project.
 */
declare namespace WebAssembly {
  interface MemoryDescriptor {
    /** In pages of 64 KiB. */
    initial: number;
    /** In pages of 64 KiB; mandatory when `shared`. */
    maximum?: number;
    shared?: boolean;
  }

  class Memory {
    constructor(descriptor: MemoryDescriptor);
    readonly buffer: ArrayBuffer | SharedArrayBuffer;
  }

  class Module {
    constructor(bytes: NodeJS.ArrayBufferView | ArrayBuffer);
  }

  class Instance {
    constructor(module: Module, imports?: Record<string, Record<string, unknown>>);
    readonly exports: Record<string, unknown>;
  }
}
