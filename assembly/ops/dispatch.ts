// From operation numbers to the thick functions.
import { Cpu } from "../cpu/state";
import { Insn } from "../decode/insn";
import { Thick, ThickEnd } from "../decode/thick";
import { alu, cmpxchg, cmpxchg8b, decE, incE, negE, notE, testEg, testEi, xadd, xchg } from "./alu";
import { shiftCl, shiftImm, shldCl, shldImm, shrdCl, shrdImm } from "./shift";
import { div, idiv, imul, imulGe, imulGei, mul } from "./muldiv";
import { bsf, bsr, bswap, btEg, btEi, btcEg, btcEi, btrEg, btrEi, btsEg, btsEi, crc32, lzcnt, movbeLoad, movbeStore, popcnt, tzcnt } from "./bit";
import { aaa, aad, aam, aas, daa, das, salc } from "./bcd";
import {
  cbw, clc, cld, cmc, cmov, cwd, lahf, lea, movAo, movEg, movEi, movEs, movGe, movOa, movnti, movsx16, movsx8, movsxd, movzx16, movzx8, sahf, setcc, stc,
  std, xlat,
} from "./mov";
import { enter, leave, popE, popR, popS, popa, popf, pushE, pushI, pushR, pushS, pusha, pushf } from "./stack";
import { cmps, lods, movs, repCmps, repLods, repMovs, repScas, repStos, scas, stos } from "./string";
import {
  arpl, bound, cli, clts, cpuid, hlt, invd, invlpg, invpcid, lar, lfp, lgdt, lidt, lldt, lmsw, lsl, ltr, monitor, movCrR, movDrR, movRCr,
  movRDr, movSE, mwait, pause, rdfsbase, rdgsbase, rdmsr, rdpid, rdpmc, rdrand, rdseed, rdtscp, sgdt, sidt, sldt, smsw, sti, str, swapgs,
  verr, verw, vmcall, wbinvd, wrfsbase, wrgsbase, wrmsr, xgetbv, xsetbv,
} from "./system";
import {
  callFarE, callFarI, int1, int3, intN, into, iret, jmpFarE, jmpFarI, retf, retfI, syscall, sysenter, sysexit, sysret,
} from "./far";
import { callE, callRel, jcc, jcxz, jmpE, jmpRel, loop, loope, loopne, ret, retI } from "./branch";
import { inDx, inI, ins, outDx, outI, outs } from "./io";
import { fwait, x87 } from "./x87";
import { sse } from "./sse";
import { Vector, fault, faultCode } from "../cpu/fault";

/** Operations that do not end a block. */
export function dispatch(cpu: Cpu, ip: usize, op: u32): void {
  const i = changetype<Insn>(ip);
  if (op >= 0x4000) return sse(cpu, i, op - 0x4000);
  if (op >= 0x3000) {
    if (op == 0x3800) return fwait(cpu, i);
    return x87(cpu, i, op - 0x3000);
  }
  const n = op - 0x1000;
  if (n < 24) return alu(cpu, i, n);
  switch (n) {
    case Thick.TEST_EG: testEg(cpu, i); break;
    case Thick.TEST_EI: testEi(cpu, i); break;
    case Thick.NOT: notE(cpu, i); break;
    case Thick.NEG: negE(cpu, i); break;
    case Thick.INC: incE(cpu, i); break;
    case Thick.DEC: decE(cpu, i); break;
    case Thick.XCHG: xchg(cpu, i); break;
    case Thick.XADD: xadd(cpu, i); break;
    case Thick.CMPXCHG: cmpxchg(cpu, i); break;
    case Thick.CMPXCHG8B: cmpxchg8b(cpu, i); break;
    case 40: case 41: case 42: case 43: case 44: case 45: case 46: case 47: shiftImm(cpu, i, n - 40); break;
    case 48: case 49: case 50: case 51: case 52: case 53: case 54: case 55: shiftCl(cpu, i, n - 48); break;
    case Thick.SHLD_IMM: shldImm(cpu, i); break;
    case Thick.SHLD_CL: shldCl(cpu, i); break;
    case Thick.SHRD_IMM: shrdImm(cpu, i); break;
    case Thick.SHRD_CL: shrdCl(cpu, i); break;
    case Thick.MUL: mul(cpu, i); break;
    case Thick.IMUL: imul(cpu, i); break;
    case Thick.DIV: div(cpu, i); break;
    case Thick.IDIV: idiv(cpu, i); break;
    case Thick.IMUL_GE: imulGe(cpu, i); break;
    case Thick.IMUL_GEI: imulGei(cpu, i); break;
    case Thick.BT_EG: btEg(cpu, i); break;
    case Thick.BTS_EG: btsEg(cpu, i); break;
    case Thick.BTR_EG: btrEg(cpu, i); break;
    case Thick.BTC_EG: btcEg(cpu, i); break;
    case Thick.BT_EI: btEi(cpu, i); break;
    case Thick.BTS_EI: btsEi(cpu, i); break;
    case Thick.BTR_EI: btrEi(cpu, i); break;
    case Thick.BTC_EI: btcEi(cpu, i); break;
    case Thick.BSF: bsf(cpu, i); break;
    case Thick.BSR: bsr(cpu, i); break;
    case Thick.TZCNT: tzcnt(cpu, i); break;
    case Thick.LZCNT: lzcnt(cpu, i); break;
    case Thick.POPCNT: popcnt(cpu, i); break;
    case Thick.BSWAP: bswap(cpu, i); break;
    case Thick.CRC32: crc32(cpu, i); break;
    case Thick.MOVBE_LOAD: movbeLoad(cpu, i); break;
    case Thick.MOVBE_STORE: movbeStore(cpu, i); break;
    case Thick.DAA: daa(cpu, i); break;
    case Thick.DAS: das(cpu, i); break;
    case Thick.AAA: aaa(cpu, i); break;
    case Thick.AAS: aas(cpu, i); break;
    case Thick.AAM: aam(cpu, i); break;
    case Thick.AAD: aad(cpu, i); break;
    case Thick.SALC: salc(cpu, i); break;
    case Thick.MOV_EG: movEg(cpu, i); break;
    case Thick.MOV_GE: movGe(cpu, i); break;
    case Thick.MOV_EI: movEi(cpu, i); break;
    case Thick.MOVZX8: movzx8(cpu, i); break;
    case Thick.MOVZX16: movzx16(cpu, i); break;
    case Thick.MOVSX8: movsx8(cpu, i); break;
    case Thick.MOVSX16: movsx16(cpu, i); break;
    case Thick.MOVSXD: movsxd(cpu, i); break;
    case Thick.LEA: lea(cpu, i); break;
    case Thick.CBW: cbw(cpu, i); break;
    case Thick.CWD: cwd(cpu, i); break;
    case Thick.XLAT: xlat(cpu, i); break;
    case Thick.SETCC: setcc(cpu, i); break;
    case Thick.CMOV: cmov(cpu, i); break;
    case Thick.LAHF: lahf(cpu, i); break;
    case Thick.SAHF: sahf(cpu, i); break;
    case Thick.CLC: clc(cpu, i); break;
    case Thick.STC: stc(cpu, i); break;
    case Thick.CMC: cmc(cpu, i); break;
    case Thick.CLD: cld(cpu, i); break;
    case Thick.STD: std(cpu, i); break;
    case Thick.MOV_ES: movEs(cpu, i); break;
    case Thick.MOVNTI: movnti(cpu, i); break;
    case Thick.MOV_AO: movAo(cpu, i); break;
    case Thick.MOV_OA: movOa(cpu, i); break;
    case Thick.PUSH_R: pushR(cpu, i); break;
    case Thick.PUSH_E: pushE(cpu, i); break;
    case Thick.PUSH_I: pushI(cpu, i); break;
    case Thick.PUSH_S: pushS(cpu, i); break;
    case Thick.POP_R: popR(cpu, i); break;
    case Thick.POP_E: popE(cpu, i); break;
    case Thick.PUSHA: pusha(cpu, i); break;
    case Thick.POPA: popa(cpu, i); break;
    case Thick.ENTER: enter(cpu, i); break;
    case Thick.LEAVE: leave(cpu, i); break;
    case Thick.PUSHF: pushf(cpu, i); break;
    case Thick.MOVS: movs(cpu, i); break;
    case Thick.CMPS: cmps(cpu, i); break;
    case Thick.STOS: stos(cpu, i); break;
    case Thick.LODS: lods(cpu, i); break;
    case Thick.SCAS: scas(cpu, i); break;
    case Thick.SGDT: sgdt(cpu, i); break;
    case Thick.SIDT: sidt(cpu, i); break;
    case Thick.SLDT: sldt(cpu, i); break;
    case Thick.STR: str(cpu, i); break;
    case Thick.SMSW: smsw(cpu, i); break;
    case Thick.LAR: lar(cpu, i); break;
    case Thick.LSL: lsl(cpu, i); break;
    case Thick.VERR: verr(cpu, i); break;
    case Thick.VERW: verw(cpu, i); break;
    case Thick.ARPL: arpl(cpu, i); break;
    case Thick.BOUND: bound(cpu, i); break;
    case Thick.RDTSCP: rdtscp(cpu, i); break;
    case Thick.RDPMC: rdpmc(cpu, i); break;
    case Thick.CPUID: cpuid(cpu, i); break;
    case Thick.RDRAND: rdrand(cpu, i); break;
    case Thick.RDSEED: rdseed(cpu, i); break;
    case Thick.MOV_R_CR: movRCr(cpu, i); break;
    case Thick.MOV_R_DR: movRDr(cpu, i); break;
    case Thick.RDFSBASE: rdfsbase(cpu, i); break;
    case Thick.RDGSBASE: rdgsbase(cpu, i); break;
    case Thick.RDPID: rdpid(cpu, i); break;
    case Thick.XGETBV: xgetbv(cpu, i); break;
    default: fault(cpu, Vector.UD);
  }
}

/** Operations that end a block; Cpu.rip is the next instruction until they change it. */
export function dispatchEnd(cpu: Cpu, ip: usize, op: u32): void {
  const i = changetype<Insn>(ip);
  switch (op) {
    case ThickEnd.JMP_REL: jmpRel(cpu, i); break;
    case ThickEnd.JMP_E: jmpE(cpu, i); break;
    case ThickEnd.CALL_REL: callRel(cpu, i); break;
    case ThickEnd.CALL_E: callE(cpu, i); break;
    case ThickEnd.RET: ret(cpu, i); break;
    case ThickEnd.RET_I: retI(cpu, i); break;
    case ThickEnd.JCC: jcc(cpu, i); break;
    case ThickEnd.LOOP: loop(cpu, i); break;
    case ThickEnd.LOOPE: loope(cpu, i); break;
    case ThickEnd.LOOPNE: loopne(cpu, i); break;
    case ThickEnd.JCXZ: jcxz(cpu, i); break;
    case ThickEnd.JMP_FAR_I: jmpFarI(cpu, i); break;
    case ThickEnd.JMP_FAR_E: jmpFarE(cpu, i); break;
    case ThickEnd.CALL_FAR_I: callFarI(cpu, i); break;
    case ThickEnd.CALL_FAR_E: callFarE(cpu, i); break;
    case ThickEnd.RETF: retf(cpu, i); break;
    case ThickEnd.RETF_I: retfI(cpu, i); break;
    case ThickEnd.IRET: iret(cpu, i); break;
    case ThickEnd.INT_N: intN(cpu, i); break;
    case ThickEnd.INT3: int3(cpu, i); break;
    case ThickEnd.INT1: int1(cpu, i); break;
    case ThickEnd.INTO: into(cpu, i); break;
    case ThickEnd.SYSCALL: syscall(cpu, i); break;
    case ThickEnd.SYSRET: sysret(cpu, i); break;
    case ThickEnd.SYSENTER: sysenter(cpu, i); break;
    case ThickEnd.SYSEXIT: sysexit(cpu, i); break;
    case ThickEnd.MOV_S_E: movSE(cpu, i); break;
    case ThickEnd.POP_S: popS(cpu, i); break;
    case ThickEnd.POPF: popf(cpu, i); break;
    case ThickEnd.CLI: cli(cpu, i); break;
    case ThickEnd.STI: sti(cpu, i); break;
    case ThickEnd.HLT: hlt(cpu, i); break;
    case ThickEnd.LGDT: lgdt(cpu, i); break;
    case ThickEnd.LIDT: lidt(cpu, i); break;
    case ThickEnd.LLDT: lldt(cpu, i); break;
    case ThickEnd.LTR: ltr(cpu, i); break;
    case ThickEnd.LMSW: lmsw(cpu, i); break;
    case ThickEnd.CLTS: clts(cpu, i); break;
    case ThickEnd.INVLPG: invlpg(cpu, i); break;
    case ThickEnd.INVPCID: invpcid(cpu, i); break;
    case ThickEnd.INVD: invd(cpu, i); break;
    case ThickEnd.WBINVD: wbinvd(cpu, i); break;
    case ThickEnd.MOV_CR_R: movCrR(cpu, i); break;
    case ThickEnd.MOV_DR_R: movDrR(cpu, i); break;
    case ThickEnd.RDMSR: rdmsr(cpu, i); break;
    case ThickEnd.WRMSR: wrmsr(cpu, i); break;
    case ThickEnd.SWAPGS: swapgs(cpu, i); break;
    case ThickEnd.WRFSBASE: wrfsbase(cpu, i); break;
    case ThickEnd.WRGSBASE: wrgsbase(cpu, i); break;
    case ThickEnd.XSETBV: xsetbv(cpu, i); break;
    case ThickEnd.MONITOR: monitor(cpu, i); break;
    case ThickEnd.MWAIT: mwait(cpu, i); break;
    case ThickEnd.VMCALL: vmcall(cpu, i); break;
    case ThickEnd.LFP: lfp(cpu, i); break;
    case ThickEnd.IN_I: inI(cpu, i); break;
    case ThickEnd.IN_DX: inDx(cpu, i); break;
    case ThickEnd.OUT_I: outI(cpu, i); break;
    case ThickEnd.OUT_DX: outDx(cpu, i); break;
    case ThickEnd.INS: ins(cpu, i); break;
    case ThickEnd.OUTS: outs(cpu, i); break;
    case ThickEnd.REP_MOVS: repMovs(cpu, i); break;
    case ThickEnd.REP_CMPS: repCmps(cpu, i); break;
    case ThickEnd.REP_STOS: repStos(cpu, i); break;
    case ThickEnd.REP_LODS: repLods(cpu, i); break;
    case ThickEnd.REP_SCAS: repScas(cpu, i); break;
    case ThickEnd.PAUSE: pause(cpu, i); break;
    case ThickEnd.GP_TOO_LONG: faultCode(cpu, Vector.GP, 0); break;
    default: fault(cpu, Vector.UD);
  }
}
