// Numbers of the thick operations, added to OP_THICK or OP_THICK_END. The families live in ops/; ops/dispatch.ts
// calls them. Operand forms are in the record: `a` is the reg field, the rm operand is a register (`b`) or memory, `imm` the immediate.
export const enum Thick {
  // ops/alu.ts: E,G (0) G,E (1) E,imm (2) for each of ADD OR ADC SBB AND SUB XOR CMP: number = ALU + kind * 3 + form
  ALU = 0,
  TEST_EG = 24, TEST_EI, NOT, NEG, INC, DEC, XCHG, XADD, CMPXCHG, CMPXCHG8B, // CMPXCHG16B by REX.W
  // ops/shift.ts: kinds ROL ROR RCL RCR SHL SHR SAL SAR; count in imm, or CL
  SHIFT_IMM = 40, SHIFT_CL = 48, SHLD_IMM = 56, SHLD_CL, SHRD_IMM, SHRD_CL,
  // ops/muldiv.ts
  MUL = 60, IMUL, DIV, IDIV, IMUL_GE, IMUL_GEI,
  // ops/bit.ts; BT* take the bit from G (EG) or imm (EI)
  BT_EG = 66, BTS_EG, BTR_EG, BTC_EG, BT_EI, BTS_EI, BTR_EI, BTC_EI, BSF, BSR, TZCNT, LZCNT, POPCNT, BSWAP, CRC32, MOVBE_LOAD, MOVBE_STORE,
  // ops/bcd.ts
  DAA = 83, DAS, AAA, AAS, AAM, AAD, SALC,
  // ops/mov.ts
  MOV_EG = 90, MOV_GE, MOV_EI, MOVZX8, MOVZX16, MOVSX8, MOVSX16, MOVSXD, LEA, CBW, CWD, XLAT, SETCC, CMOV, // cc of the last two in imm
  LAHF, SAHF, CLC, STC, CMC, CLD, STD, MOV_ES, // MOV_ES: E <- segment register, number in `a`
  MOVNTI, MOV_AO, MOV_OA, // accumulator <-> moffs: address in imm
  // ops/stack.ts
  PUSH_R = 115, PUSH_E, PUSH_I, PUSH_S, POP_R, POP_E, PUSHA, POPA, ENTER, LEAVE, PUSHF,
  // ops/string.ts, without REP (with REP they are END_*)
  MOVS = 126, CMPS, STOS, LODS, SCAS,
  // ops/system.ts
  SGDT = 131, SIDT, SLDT, STR, SMSW, LAR, LSL, VERR, VERW, ARPL, BOUND, RDTSCP = 143, RDPMC, CPUID, RDRAND, RDSEED, MOV_R_CR, MOV_R_DR,
  RDFSBASE = 153, RDGSBASE, RDPID, XGETBV,
}

/** Block-ending thick operations: the caller has stored the next instruction pointer in Cpu.rip; a transfer overwrites it. */
export const enum ThickEnd {
  // ops/branch.ts: near transfers in modes that the hot forms do not cover; target offset in imm relative to the next instruction
  JMP_REL = 0, JMP_E, CALL_REL, CALL_E, RET, RET_I, JCC, LOOP, LOOPE, LOOPNE, JCXZ, // cc of JCC in `a`
  // ops/far.ts
  JMP_FAR_I = 11, JMP_FAR_E, CALL_FAR_I, CALL_FAR_E, RETF, RETF_I, IRET, INT_N, INT3, INT1, INTO,
  SYSCALL = 22, SYSRET, SYSENTER, SYSEXIT,
  // ops/system.ts
  MOV_S_E = 26, POP_S, POPF, CLI, STI, HLT, LGDT, LIDT, LLDT, LTR, LMSW, CLTS, INVLPG, INVPCID, INVD, WBINVD, MOV_CR_R, MOV_DR_R,
  RDMSR, WRMSR, SWAPGS, WRFSBASE, WRGSBASE, XSETBV, MONITOR, MWAIT, VMCALL = 53, UD, GP_TOO_LONG, // MOV_S_E, POP_S: segment number in `a`
  LFP = 56, // LES LDS LSS LFS LGS: segment number in imm
  // ops/io.ts: port in imm, or DX
  IN_I = 57, IN_DX, OUT_I, OUT_DX, INS, OUTS, // INS and OUTS with or without REP
  // ops/string.ts, with REP
  REP_MOVS = 63, REP_CMPS, REP_STOS, REP_LODS, REP_SCAS,
  PAUSE = 68, // ops/system.ts
}
