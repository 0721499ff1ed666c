// The part of the WebAssembly JavaScript interface that the host uses; TypeScript has it in its DOM library only.
declare namespace WebAssembly {
  type Exports = Record<string, unknown>;
  type ModuleImports = Record<string, unknown>;

  class Module {
    constructor(bytes: Uint8Array | ArrayBuffer);
  }

  function compile(bytes: Uint8Array | ArrayBuffer): Promise<Module>;

  class Instance {
    constructor(module: Module, imports?: Record<string, ModuleImports>);
    readonly exports: Exports;
  }

  class Memory {
    constructor(descriptor: { initial: number; maximum?: number; shared?: boolean });
    readonly buffer: ArrayBufferLike;
  }

  class Table {
    constructor(descriptor: { element: 'anyfunc'; initial: number; maximum?: number });
    readonly length: number;
    grow(by: number): number;
    set(index: number, value: (() => void) | null): void;
  }

  class Global {
    value: unknown;
  }
}
