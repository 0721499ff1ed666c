// RCPPS and RSQRTPS. The architecture asks for a relative error of at most 1.5 * 2^-12 and leaves the bits to the model; here they are the
// correctly rounded results, the same on every host.
import { defaultNan, infinity, isNan, magnitude, quietBit, signMask } from "../softfp/mxcsr";

export function reciprocal(a: u32): u32 {
  if (isNan<u32>(a)) return a | quietBit<u32>();
  const sign = a & signMask<u32>();
  const mag = magnitude<u32>(a);
  if (mag < 0x80_0000) return sign | infinity<u32>(); // denormals count as zero
  const r = reinterpret<u32>(1.0 / reinterpret<f32>(mag));
  return sign | (r < 0x80_0000 ? 0 : r); // tiny results are zero, whatever MXCSR says
}

export function reciprocalSqrt(a: u32): u32 {
  if (isNan<u32>(a)) return a | quietBit<u32>();
  if (magnitude<u32>(a) < 0x80_0000) return (a & signMask<u32>()) | infinity<u32>();
  if (a & signMask<u32>()) return defaultNan<u32>();
  return reinterpret<u32>(<f32>(1.0 / sqrt<f64>(<f64>reinterpret<f32>(a))));
}
