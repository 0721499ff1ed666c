// Bulk work of the string instructions on plain RAM; the wasm addresses are those of the first element.

// @ts-ignore: decorator
@inline export function log2<T>(): u64 { return sizeof<T>() == 1 ? 0 : sizeof<T>() == 2 ? 1 : sizeof<T>() == 4 ? 2 : 3; }

/** Copies up to 64 bytes, everything read before anything is written. */
// @ts-ignore: decorator
@inline export function copySmall(to: usize, from: usize, bytes: usize): void {
  const toEnd = to + bytes, fromEnd = from + bytes;
  if (bytes >= 16) {
    const a = v128.load(from), d = v128.load(fromEnd - 16);
    if (bytes > 32) {
      const b = v128.load(from, 16), c = v128.load(fromEnd - 32);
      v128.store(to, b, 16);
      v128.store(toEnd - 32, c);
    }
    v128.store(to, a);
    v128.store(toEnd - 16, d);
  } else if (bytes >= 8) {
    const a = load<u64>(from), b = load<u64>(fromEnd - 8);
    store<u64>(to, a);
    store<u64>(toEnd - 8, b);
  } else if (bytes >= 4) {
    const a = load<u32>(from), b = load<u32>(fromEnd - 4);
    store<u32>(to, a);
    store<u32>(toEnd - 4, b);
  } else {
    const a = load<u8>(from), b = load<u8>(from + (bytes >> 1)), c = load<u8>(fromEnd - 1);
    store<u8>(to, a);
    store<u8>(to + (bytes >> 1), b);
    store<u8>(toEnd - 1, c);
  }
}

/** Copies element by element in the order of `step`, so that overlapping operands repeat as they do on hardware. */
export function copyRun<T>(to: usize, from: usize, n: usize, step: i64): void {
  const bytes = n * sizeof<T>();
  if (step < 0) {
    const low = from - bytes + sizeof<T>(), toLow = to - bytes + sizeof<T>();
    if (toLow >= low || low - toLow >= bytes) {
      if (bytes <= 64) copySmall(toLow, low, bytes);
      else memory.copy(toLow, low, bytes);
      return;
    }
    for (; n; n--) {
      store<T>(to, load<T>(from));
      to -= sizeof<T>();
      from -= sizeof<T>();
    }
    return;
  }
  const distance = to - from; // huge when `to` is below
  if (distance >= bytes || distance == 0) {
    if (bytes <= 64) copySmall(to, from, bytes);
    else memory.copy(to, from, bytes);
    return;
  }
  if (distance & (sizeof<T>() - 1)) {
    for (; n; n--) {
      store<T>(to, load<T>(from));
      to += sizeof<T>();
      from += sizeof<T>();
    }
    return;
  }
  // The first `distance` bytes repeat: each copy doubles what the next can take.
  const end = to + bytes;
  while (to < end) {
    const part = min<usize>(to - from, end - to);
    memory.copy(to, from, part);
    to += part;
  }
}

export function fillRun<T>(to: usize, value: T, n: usize, step: i64): void {
  if (step < 0) to -= (n - 1) * sizeof<T>();
  const bytes = n * sizeof<T>();
  const low = <u8>value;
  const uniform: T = sizeof<T>() == 1 ? value : <T>(<u64>low * 0x0101_0101_0101_0101);
  if (value == uniform && bytes > 32) {
    memory.fill(to, low, bytes);
    return;
  }
  const end = to + bytes;
  const wide = v128.splat<T>(value);
  if (bytes >= 16) {
    for (; to + 16 < end; to += 16) v128.store(to, wide);
    v128.store(end - 16, wide);
  } else if (bytes >= 8) {
    const half = i64x2.extract_lane(wide, 0);
    store<u64>(to, half);
    store<u64>(end - 8, half);
  } else for (; to < end; to += sizeof<T>()) store<T>(to, value);
}

/** Elements done by REPE (`equal`) or REPNE over two arrays, the one that ends it included. */
export function compareRun<T>(a: usize, b: usize, n: usize, step: i64, equal: bool): usize {
  let k: usize = 0;
  const lanes: usize = 16 / sizeof<T>();
  if (step > 0) {
    for (; n - k >= lanes; k += lanes) {
      const x = v128.load(a + k * sizeof<T>()), y = v128.load(b + k * sizeof<T>());
      if (v128.any_true(equal ? v128.xor(x, y) : v128.eq<T>(x, y))) break;
    }
  }
  const stride = <usize>step;
  for (; k < n; k++) {
    if ((load<T>(a + k * stride) == load<T>(b + k * stride)) != equal) return k + 1;
  }
  return n;
}

/** The same against one value. */
export function scanRun<T>(a: usize, value: T, n: usize, step: i64, equal: bool): usize {
  let k: usize = 0;
  const lanes: usize = 16 / sizeof<T>();
  if (step > 0) {
    const y = v128.splat<T>(value);
    for (; n - k >= lanes; k += lanes) {
      const x = v128.load(a + k * sizeof<T>());
      if (v128.any_true(equal ? v128.xor(x, y) : v128.eq<T>(x, y))) break;
    }
  }
  const stride = <usize>step;
  for (; k < n; k++) {
    if ((load<T>(a + k * stride) == value) != equal) return k + 1;
  }
  return n;
}
